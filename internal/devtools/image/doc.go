// Package image is deploy/Dockerfile without Docker, as a test: BuildKit's own checks of it, and its steps, each as it stands
// there, in chroots of the Debian that its FROM names. Go's own image is that Debian with this machine's Go. What comes of it is
// then used as a container would be: by its user, with its command.
//
// PostgreSQL's own repository may not be there. Then Debian's packages are taken, and empty ones stand in for those that Debian
// does not have; the log names each. It runs in mounts and process ids of its own, as root. It has no code but its test;
// make ops-test runs it.
package image
