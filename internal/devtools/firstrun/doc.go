// Package firstrun is a stranger's first day, as a test: from a clone to a running service, by the commands of
// deploy/own-servers.md as they stand there, and from there to a restored and compared copy, by those of docs/guide.md; then whoever
// reviews it tries what docs/security.md says.
//
// It runs in namespaces of its own, where the pages' names lead to public addresses, as cmd/remora dials no others: our
// Postgres, a customer's, the S3 server and the simulated Heroku answer there, with certificates that the machine trusts. /etc
// and /usr/local/bin are overlaid, so that nothing stays of what is installed. It has no code but its test; make ops-test runs it.
package firstrun
