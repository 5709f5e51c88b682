// Package jobworkers does the work of the queue: one file a kind of job.
//
// River hands out jobs and nothing more; what a job may do is decided by claiming a row of ours. A worker that
// cannot claim has nothing to do. So a job that River runs twice, late, or again after a crash does no harm.
package jobworkers
