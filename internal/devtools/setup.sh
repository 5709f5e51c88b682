#!/usr/bin/env bash
# Installs what the tests and the demo need beyond Go, and says so first. Usage: setup.sh [check|test|demo|bench|ops]
# With nothing missing it prints nothing.
set -euo pipefail

cli_version=11.10.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/remora"
cli="$cache/heroku-$cli_version"
axe_version=4.14.1
axe="$cache/axe-$axe_version"
prometheus="$cache/prometheus"
what=${1:-test}

say() { printf 'setup: %s\n' "$*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing_postgres() {
	[ -z "${PG_BIN_DIR:-}" ] && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null
}
missing_compiler() { ! command -v gcc >/dev/null && ! command -v clang >/dev/null; }

packages=()
if [ "$what" != check ] && missing_postgres; then
	say "PostgreSQL's server programs (initdb, postgres) and client programs (pg_dump, pg_restore) are missing."
	packages+=(postgresql)
fi
if [ "$what" = test ] && missing_compiler; then
	say "A C compiler is missing, which Go's race detector is linked with."
	packages+=(gcc libc6-dev)
fi
if [ "$what" = test ] && ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
	say "Chromium is missing, in which the pages are looked at."
	packages+=(chromium)
fi
if [ "$what" = test ] && ! command -v age >/dev/null; then
	say "age is missing, with which archives are opened without us."
	packages+=(age)
fi
if [ "$what" = ops ] && ! command -v mmdebstrap >/dev/null; then
	say "mmdebstrap is missing, which makes the chroots that the Dockerfile's steps are run in."
	packages+=(mmdebstrap)
fi
if [ "$what" = test ]; then
	for program in curl jq python3; do
		command -v "$program" >/dev/null || { say "$program is missing, with which the commands of the pages are typed."; packages+=("$program"); }
	done
fi
if [ "$what" = bench ]; then
	for program in zstd rclone; do
		command -v "$program" >/dev/null || { say "$program is missing, which a backup is measured beside."; packages+=("$program"); }
	done
fi
if [ ${#packages[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; }; then
		say "Install them with your system's packages; PostgreSQL's may be anywhere, its folder named in PG_BIN_DIR. (On Debian and Ubuntu this is done for you, as root or with sudo.)"
		exit 1
	fi
	say "installing Debian's packages: ${packages[*]} (apt-get install). No Postgres cluster of the system's own is created: create_main_cluster = false is written first."
	root mkdir -p /etc/postgresql-common/createcluster.d
	echo 'create_main_cluster = false' | root tee /etc/postgresql-common/createcluster.d/no-main.conf >/dev/null
	root apt-get update -qq
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

if [ "$what" != check ] && [ -z "${REMORA_HEROKU_CLI:-}" ] && [ ! -x "$cli/node_modules/.bin/heroku" ]; then
	if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
		say "npm and node are missing; the real Heroku CLI, an npm package, is what the tests, the demo and the benchmark drive. Install Node.js 20 or later with npm."
		exit 1
	fi
	extra=
	if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
		extra=node@22
		say "the system's node is older than 20; npm's package $extra is installed beside the CLI."
	fi
	say "the Heroku CLI $cli_version is missing; installing it into $cli (npm install, about 400 MB)."
	mkdir -p "$cli.new"
	npm install --prefix "$cli.new" --ignore-scripts --no-audit --no-fund --loglevel=error "heroku@$cli_version" $extra >&2
	rm -rf "$cli"
	mv "$cli.new" "$cli"
fi

if [ "$what" = test ] && [ ! -f "$axe/node_modules/axe-core/axe.min.js" ]; then
	say "axe-core $axe_version is missing, the rules that every page is held against; installing it into $axe (npm install, 3 MB, MPL-2.0)."
	mkdir -p "$axe.new"
	npm install --prefix "$axe.new" --ignore-scripts --no-audit --no-fund --loglevel=error "axe-core@$axe_version" >&2
	rm -rf "$axe"
	mv "$axe.new" "$axe"
fi

if [ "$what" = ops ] && [ ! -x "$prometheus/promtool" ]; then
	if ! command -v apt-get >/dev/null; then
		say "Prometheus's programs are missing. Put prometheus and promtool into $prometheus. (On Debian and Ubuntu this is done for you.)"
		exit 1
	fi
	say "Prometheus's programs, by which alerts are tried, are missing; unpacking them from Debian's package prometheus into $prometheus (apt-get download, 95 MB). Nothing is installed and no service is started."
	rm -rf "$prometheus.new"
	mkdir -p "$prometheus.new"
	[ -n "$(apt-cache search --names-only '^prometheus$')" ] || root apt-get update -qq
	(cd "$prometheus.new" && apt-get download -qq prometheus >/dev/null && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/prometheus ./usr/bin/promtool && rm prometheus_*.deb)
	mv "$prometheus.new" "$prometheus"
fi
