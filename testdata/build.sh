#!/usr/bin/env bash
# Builds the images that are not committed, into testdata/built, and lists them all in testdata/built/manifest.tsv.
#   build.sh [phony|profiles|hostile|e2fsprogs|debian|booted|borrowed|stacked|tree|bench]...    without a name: all but bench
# What is there and newer than its script is left alone. What cannot be built here (no root, a tool is missing) is
# skipped with a line that says so; under REQUIRE_ORACLES=1 that is a failure.
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "$0")" && pwd)
built=${IMGRAFT_TESTDATA:-$here/built}
mkdir -p "$built/manifest.d"
# Two builds at once would build into each other.
exec 9>"$built/.lock"
if ! flock -n 9; then echo "testdata: waiting for another build" >&2; flock 9; fi

timed() { local start=$SECONDS; "${@:2}" 9>&-; echo "testdata: $1 ready after $((SECONDS - start)) s"; }
if (($# == 0)); then set -- phony profiles hostile e2fsprogs debian booted borrowed stacked tree; fi
for group; do
  case $group in
    phony)    timed "$group" "$here/images/phony-debian.gen.sh"; timed "$group" "$here/images/phony-el.gen.sh" ;;
    profiles) timed "$group" "$here/images/profiles.gen.sh" ;;
    hostile)  timed "$group" "$here/hostile/hostile.gen.py" ;;
    e2fsprogs) timed "$group" "$here/images/e2fsprogs.gen.sh" ;;
    debian)   timed "$group" "$here/images/debian.gen.sh" ;;
    booted)   timed "$group" "$here/images/debian.gen.sh" booted ;;
    borrowed) timed "$group" "$here/images/borrowed.gen.sh" ;;
    stacked)  timed "$group" "$here/images/stacked.gen.sh" ;;
    tree)     timed "$group" "$here/images/tree.gen.sh" ;;
    bench)    timed "$group" "$here/images/debian.gen.sh" bench ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done

# One line for each image that is really there.
{
  printf 'name\tpath\tformat\tlayout\tsector\tpart\tprofile\tsize\tpremises\tgroup\n'
  for row in "$built"/manifest.d/*.tsv; do
    IFS=$'\t' read -r _ path _ <"$row"
    if [[ -e $built/$path ]]; then cat "$row"; fi
  done
} >"$built/manifest.tsv.part"
mv "$built/manifest.tsv.part" "$built/manifest.tsv"
echo "testdata: $(($(wc -l <"$built/manifest.tsv") - 1)) images in $built/manifest.tsv"
