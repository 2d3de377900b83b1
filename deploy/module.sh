#!/bin/sh
# Gives the Go module, and with it everything that imports it, another path: `make module PATH=example.org/you/partyline`.
# The path stands in go.mod. This rewrites it there, in the modules below, in imports, build commands and documents.
# The npm package keeps its name.
set -eu
PATH=/usr/local/bin:/usr/bin:/bin # make has put the module's path there
export PATH
new=${1:-}
cd "$(dirname "$0")/.."
old=$(sed -n 's/^module //p' go.mod)
case $new in
'' | /* | */ | *//* | *[!A-Za-z0-9._/~-]*)
  echo "make module PATH=example.org/you/partyline: \"$new\" is not the path of a Go module" >&2
  exit 2
  ;;
esac

# Names of packages begin behind a character that belongs to no path, and go on with a folder of this module.
folders=$(find . -mindepth 2 -name '*.go' -not -path '*/node_modules/*' | cut -d / -f 2 | sort -u | tr '\n' '|')
pattern=$(printf %s "$old" | sed 's/[.]/[.]/g')
temporary=$(mktemp)
trap 'rm -f "$temporary"' EXIT
find . \( -name node_modules -o -name .git -o -name bin -o -path ./web/client \) -prune -o -type f \
  \( -name '*.go' -o -name '*.md' -o -name '*.sh' -o -name Makefile -o -name Dockerfile \) -print |
  while IFS= read -r file; do
    sed -E -e "s#(^|[^A-Za-z0-9_./~-])$pattern/(${folders%|})([^A-Za-z0-9_-]|\$)#\1$new/\2\3#g" \
      -e "s#^(([[:space:]]*|import )\")$pattern(\")\$#\1$new\3#" "$file" >"$temporary"
    cmp -s "$temporary" "$file" || cat "$temporary" >"$file"
  done
find . \( -name node_modules -o -name .git \) -prune -o -name go.mod -print | while IFS= read -r file; do
  sed -E "s#^(module |require |replace |[[:space:]]+)$pattern(\$|/| )#\1$new\2#" "$file" >"$temporary"
  cmp -s "$temporary" "$file" || cat "$temporary" >"$file"
done
echo "The module is $new. Publish the tree there, and tag a version such as v0.1.0."
