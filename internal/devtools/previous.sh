#!/usr/bin/env bash
# Builds what ran before this, to run it beside this: the commit before the newest one that changed what our database is like (our
# migrations, or River, which brings the queue's), and the commit before the newest one. Usage: previous.sh FOLDER [REVISION|SOURCE...]
# Where there is no history to find them in, as in an unpacked archive, whoever calls names a revision or a folder with the
# source of the release before. Prints a folder for each, with bin/remora-demo and migrations/ in it; one that is there is kept.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'previous: %s\n' "$*" >&2; }

build() { # name, which prints its source as an archive
	local at="$folder/$1"
	shift
	if [ ! -x "$at/bin/remora-demo" ]; then
		rm -rf "$at" "$at.new"
		mkdir -p "$at"
		"$@" | tar -x -C "$at"
		(cd "$at" && go build -buildvcs=false -o bin/remora-demo.new ./cmd/remora-demo && mv bin/remora-demo.new bin/remora-demo)
	fi
	echo "$at"
}

before() { # a commit: the one before it
	git rev-parse --verify --quiet "$1^" || {
		say "the commit before $1 is not here. Fetch the whole history (git fetch --unshallow), or name the release before: make ops-test PREVIOUS=REVISION-OR-FOLDER"
		exit 1
	}
}

mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
if [ $# = 0 ]; then
	if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$PWD" ]; then
		say "this is no clone, so nothing tells what the release before was. Unpack its source somewhere and name it: make ops-test PREVIOUS=FOLDER"
		exit 1
	fi
	if [ -n "$(git status --porcelain -- migrations go.mod)" ]; then
		changed=$(git rev-parse HEAD)
	else
		changed=$(before "$(git log -1 --format=%H HEAD -- migrations)")
		queue=$(git log -1 --format=%H -G'riverqueue/river ' HEAD -- go.mod)
		if ! git merge-base --is-ancestor "$queue" "$changed"; then changed=$(before "$queue"); fi
	fi
	last=$(before HEAD)
	if [ "$changed" = "$last" ]; then set -- "$changed"; else set -- "$changed" "$last"; fi
fi
for one in "$@"; do
	if [ -d "$one" ]; then
		build "folder-$(basename "$(cd "$one" && pwd)")" tar -c -C "$one" --exclude=./bin --exclude=./.git .
	else
		commit=$(git rev-parse --verify --quiet "$one^{commit}") || { say "there is no $one, as a revision or as a folder"; exit 1; }
		build "${commit:0:12}" git archive "$commit"
	fi
done
