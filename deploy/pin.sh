#!/bin/sh
# `make pin`: pulls the images that compose.yaml names, and writes their digests to .env. From then on Docker Compose uses
# and builds from exactly these. To take newer ones, run it again. usage: pin.sh [FILE]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
file=${1:-$root/.env}
compose=$root/compose.yaml

umask 077
touch "$file"
work=$(mktemp)
trap 'rm -f "$work"' EXIT
grep -o '[A-Z]*_IMAGE:-[^}]*' "$compose" | sort -u | while IFS= read -r pair; do
  name=${pair%%:-*} image=${pair#*:-}
  docker pull --quiet "$image" >/dev/null
  digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" | head -n 1)
  [ -n "$digest" ] || { echo "pin.sh: $image comes from no registry, so it has no digest" >&2; exit 1; }
  echo "$name=$digest" >>"$work"
  echo "$image is $digest"
done
names=$(sed 's/=.*//' "$work" | paste -s -d '|' -)
grep -Ev "^($names)=" "$file" >>"$work" || :
cat "$work" >"$file" # keeps its mode
