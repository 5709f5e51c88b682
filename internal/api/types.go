package api

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// List is a list that is never null.
type List[T any] []T

// MarshalJSON writes an empty list for nil.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// TransformSchema is for huma, which takes any list to be null at times.
func (List[T]) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = false
	return s
}

func listOf[A, B any](all []A, of func(A) B) List[B] {
	out := make(List[B], len(all))
	for i, x := range all {
		out[i] = of(x)
	}
	return out
}

func opt[A, B any](x *A, of func(A) B) *B {
	if x == nil {
		return nil
	}
	y := of(*x)
	return &y
}

// Reason is why something is as it is.
type Reason struct {
	Code string `json:"code" doc:"The reason, for programs."`
	Says string `json:"says" doc:"What it means and what to do."`
	Acts string `json:"acts" enum:"nobody,customer,us" doc:"Who must act. nobody: it heals by itself; us: the operator of the service."`
}

func reasonOf(r remora.Reason) *Reason {
	if r == remora.ReasonNone {
		return nil
	}
	return &Reason{string(r), r.Sentence(), string(r.Actor())}
}

// The identifiers of paths. What is none is not found, so they are not held against a form.

// OfDatabase names a database. It has a capital letter for huma, which looks into no other.
type OfDatabase struct {
	ID string `path:"database" doc:"The database's id."`
}

func (in OfDatabase) database() (remora.DatabaseID, error) {
	return remora.KnownID[remora.DatabaseID](in.ID, "database")
}

// OfBackup is OfDatabase for a backup.
type OfBackup struct {
	ID string `path:"backup" doc:"The backup's id."`
}

func (in OfBackup) backup() (remora.BackupID, error) {
	return remora.KnownID[remora.BackupID](in.ID, "backup")
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }
