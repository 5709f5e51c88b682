// Package opstest holds what an operator and a customer are given, the files of deploy/ and the pages of docs/, against the
// product itself: rules and dashboards against its measures, commands against its own and the Heroku CLI's, links against
// what is there. It has no code but its tests. make ops-test runs them with Prometheus's programs, by which the rules are
// tried, alone and on a running service, and with the programs of the release before, beside which this one is run; without
// those, in make test, the rest runs.
package opstest
