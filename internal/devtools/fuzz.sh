#!/usr/bin/env bash
# Gives every parser of what others write random input. Usage: fuzz.sh [SECONDS]
#
# Without SECONDS, a few thousand inputs each, made of the seeds alone (testdata/fuzz and the tests' own): what takes the
# time is to link the tests. With SECONDS, so many for each, with the compiler's help to find new ways, which costs minutes
# of compiling before. What fails is kept below testdata/fuzz, where every later test tries it again.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

while read -r package target count; do
	if [ -n "$seconds" ]; then
		go test -run='^$' -fuzz="^$target\$" -fuzztime="${seconds}s" "./internal/$package"
		continue
	fi
	go test -c -o "$built/$package.test" "./internal/$package"
	said=$(cd "internal/$package" && "$built/$package.test" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="${count}x" \
		-test.fuzzcachedir="$built/cache" -test.parallel=2 2>&1) || { echo "$package $target:"; echo "$said"; exit 1; }
	grep -q '^PASS' <<<"$said" || { echo "$package $target ran nothing: $said"; exit 1; }
done <<'TARGETS'
credential FuzzParse 10000
partnerapi FuzzVerify 5000
schedule FuzzCron 500
pgarchive FuzzHead 3000
archivestore FuzzManifest 5000
TARGETS
