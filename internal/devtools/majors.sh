#!/usr/bin/env bash
# Unpacks another major of PostgreSQL, server and clients, from another suite of Debian's archive, with the libraries
# that it was built with, into a folder of its own: nothing of the system changes. A folder that is there is kept.
# Usage: majors.sh FOLDER SUITE:MAJOR... (bullseye:13 trixie:17 sid:18). Prints the folders of programs, one a line.
set -euo pipefail

say() { printf 'majors: %s\n' "$*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

unpack() { # suite, major, folder
	local suite=$1 major=$2 out=$3 work mirror tree loader libs
	work=$(mktemp -d)
	mkdir -p "$work"/{etc/apt.conf.d,etc/preferences.d,lists/partial,cache/archives/partial,tree}
	: >"$work/status" # an empty one, so that everything needed is fetched, the C library too
	mirror=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -1)
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/etc/sources.list"
	cat >"$work/apt.conf" <<-EOF
		Dir::Etc "$work/etc"; Dir::Etc::sourcelist "$work/etc/sources.list"; Dir::Etc::sourceparts "-"; Dir::Etc::parts "$work/etc/apt.conf.d";
		Dir::State::lists "$work/lists"; Dir::State::status "$work/status"; Dir::Cache "$work/cache";
		Acquire::Languages "none"; APT::Install-Recommends "false"; APT::Sandbox::User ""; Debug::NoLocking "1";
	EOF
	# A mirror may keep sid as it was on some day; what it holds is still checked against Debian's signature.
	[ "$suite" != sid ] || echo 'Acquire::Check-Valid-Until "false";' >>"$work/apt.conf"
	APT_CONFIG="$work/apt.conf" apt-get -qq update
	APT_CONFIG="$work/apt.conf" apt-get -qq -y --download-only install "postgresql-$major" "postgresql-client-$major" >/dev/null
	tree="$work/tree"
	for package in "$work"/cache/archives/*.deb; do dpkg-deb -x "$package" "$tree"; done

	mkdir -p "$out/lib/postgresql" "$out/share/postgresql" "$out/libraries"
	mv "$tree/usr/lib/postgresql/$major" "$out/lib/postgresql/"
	mv "$tree/usr/share/postgresql/$major" "$out/share/postgresql/"
	rm -rf "$out/lib/postgresql/$major/lib"/{bitcode,pgxs,llvmjit*}
	loader=$(find "$tree" \( -name 'ld-linux-x86-64.so.2' -o -name 'ld-2.*.so' -o -name 'ld-linux-aarch64.so.1' \) -type f | head -1)
	libs=$(find "$tree" -name 'libc.so.6' -printf '%h\n' | head -1)
	libs="$libs:$(find "$tree" -name 'libpq.so.5*' -printf '%h\n' | head -1)"
	cp -L "$loader" "$out/libraries/loader"
	find "$out/lib" -type f \( -path '*/bin/*' -o -name '*.so' \) | while read -r file; do
		"$loader" --library-path "$libs" --list "$file" 2>/dev/null || true # scripts have none
	done | awk '/=> \//{print $3}' | sort -u | xargs -I{} cp -L {} "$out/libraries/"
	find "$tree" \( -name 'libnss_files.so.2' -o -name 'libnss_files-*.so' \) -exec cp -L {} "$out/libraries/libnss_files.so.2" \;
	for program in "$out/lib/postgresql/$major/bin"/*; do
		if [ "$(head -c4 "$program" | tail -c3)" = ELF ]; then
			# shellcheck disable=SC2016 # the loader's own $ORIGIN
			patchelf --set-interpreter "$out/libraries/loader" --force-rpath --set-rpath '$ORIGIN/../../../../libraries' "$program"
		fi
	done
	rm -rf "$work"
}

folder=$1
shift
if ! grep -qs '^URIs: ' /etc/apt/sources.list.d/debian.sources; then
	say "this needs Debian with its archive named in /etc/apt/sources.list.d/debian.sources; elsewhere install other majors yourself and run: go test -run TestEveryKindOfObject ./internal/pgarchive -majors 'FOLDER FOLDER'"
	exit 1
fi
if ! command -v patchelf >/dev/null; then
	say "installing Debian's package patchelf, which ties programs to the libraries they came with"
	root apt-get install -y -qq --no-install-recommends patchelf >/dev/null
fi
for choice in "$@"; do
	suite=${choice%:*} major=${choice#*:}
	at="$folder/postgresql-$major"
	if [ ! -e "$at/complete" ]; then
		say "fetching PostgreSQL $major from Debian's $suite (about 90 MB) into $at"
		rm -rf "$at"
		# Its final place from the start: programs are tied to it.
		unpack "$suite" "$major" "$at"
		"$at/lib/postgresql/$major/bin/pg_dump" --version >&2
		touch "$at/complete"
	fi
	echo "$at/lib/postgresql/$major/bin"
done
