#!/usr/bin/env bash
# e2fsprogs/NAME.img: the images that e2fsprogs tests itself with, out of the source package of this machine's
# distribution: most are broken, each in its own way. Fetched by apt with a list of sources and a state of its own, so
# that nothing of the machine's changes; kept, because it never changes either.
. "$(dirname "$0")/lib.sh"

out=$built/e2fsprogs
if fresh "$out/.complete"; then exit 0; fi
need apt-get dpkg-source gzip bzip2

shelf=$(mktemp -d "$built/.scratch.XXXXXX")
trap 'rm -rf "$shelf"' EXIT
mkdir -p "$shelf/sources" "$shelf/lists/partial" "$shelf/cache" "$shelf/source"
# The machine's own mirrors, asked for sources.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/{debian,ubuntu}.sources; do
  [[ -s $list ]] || continue
  case $list in
    *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" >"$shelf/sources/${list##*/}" ;;
    *) sed -n 's/^deb /deb-src /p' "$list" >"$shelf/sources/own.list" ;;
  esac
done
apt() {
  apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$shelf/sources" -o Dir::State::lists="$shelf/lists" \
    -o Dir::Cache="$shelf/cache" -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@" >>"$built/.log" 2>&1
}
: >"$built/.log"
if ! { apt update && cd "$shelf/source" && apt --download-only source e2fsprogs; }; then
  if [[ ${REQUIRE_ORACLES:-0} = 1 ]]; then cat "$built/.log" >&2; die "apt does not give the source of e2fsprogs"; fi
  say "SKIP, apt does not give the source of e2fsprogs"
  exit 0
fi
dpkg-source --no-check -x "$shelf"/source/e2fsprogs_*.dsc "$shelf/tree" >>"$built/.log" 2>&1 || die "the source of e2fsprogs cannot be unpacked"

mkdir -p "$shelf/images"
for packed in "$shelf"/tree/tests/*/image.gz "$shelf"/tree/tests/*/image.bz2; do
  [[ -e $packed ]] || continue
  name=$(basename "$(dirname "$packed")")
  case $packed in *.gz) unpack=gzip ;; *) unpack=bzip2 ;; esac
  "$unpack" -dc "$packed" | cp --sparse=always /dev/stdin "$shelf/images/$name.img"
done
count=$(find "$shelf/images" -name '*.img' | wc -l)
((count >= 150)) || die "only $count images in the source of e2fsprogs"
touch "$shelf/images/.complete"
rm -rf "$out"
mv "$shelf/images" "$out"
say "$count images of e2fsprogs"
