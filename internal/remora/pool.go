package remora

import (
	"slices"
	"strings"
)

// Pool is workers that stand in one part of the world, near the databases that they read from. A resource's region says
// whose its backups and proofs are.
type Pool string

// The pools. What lies in neither part is PoolUS's, which every service has.
const (
	PoolUS Pool = "us"
	PoolEU Pool = "eu"
)

// Pools lists them.
func Pools() []Pool { return []Pool{PoolUS, PoolEU} }

// Known tells whether there is such a pool.
func (p Pool) Known() bool { return slices.Contains(Pools(), p) }

// PoolOf is whose a region's work is, as Heroku names regions: amazon-web-services::eu-west-1. WaitsLonger in
// postgres/queries/backups.sql says the same in SQL.
func PoolOf(region string) Pool {
	if i := strings.LastIndex(region, ":"); i >= 0 {
		region = region[i+1:]
	}
	if region == "eu" || strings.HasPrefix(region, "eu-") {
		return PoolEU
	}
	return PoolUS
}
