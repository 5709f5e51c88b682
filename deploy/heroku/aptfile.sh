#!/usr/bin/env bash
# Prints the Aptfile for Heroku's apt buildpack: the PostgreSQL clients of every major that still gets fixes, and of 14, for databases
# that are still on it (docs/hostile.md), for a stack whose Ubuntu has that code name (heroku-24: noble). Usage: deploy/heroku/aptfile.sh noble > Aptfile
#
# Where PostgreSQL's packages are is asked of Debian's and Ubuntu's postgresql-common, which has to be installed here. The
# buildpack has no place for that repository's key, so the line trusts whoever answers there by TLS: the container image, which
# checks signatures, is the better way, and the reason why it is the usual one.
set -euo pipefail

suite=${1:?the code name of the stack\'s Ubuntu, such as noble}
script=$(ls /usr/share/postgresql-common/pgdg/apt.*.sh 2>/dev/null) || { echo "postgresql-common is not installed" >&2; exit 1; }
host=$(basename "$script" .sh)
echo ":repo:deb [trusted=yes] https://$host/pub/repos/apt $suite-pgdg main"
for major in 14 15 16 17 18; do
	echo "postgresql-client-$major"
done
