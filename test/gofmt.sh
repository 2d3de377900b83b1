#!/bin/sh
# Fails if a Go file is not formatted.
cd "$(dirname "$0")/.." || exit
files=$(gofmt -l $(git ls-files '*.go' 2>/dev/null || find . -name '*.go'))
[ -z "$files" ] || { echo "not gofmt'ed:"; echo "$files"; exit 1; }
