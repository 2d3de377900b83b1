#!/bin/sh
# The quick tier: `make check`. It runs format, vet, layout and unit tests. `make test` also runs whole programs, outages,
# browsers and other clients. At the end it prints counts, so that a change shows what it removes.
set -u
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sh test/gofmt.sh || exit
go vet ./... || exit
# Most tests wait, so more of them run at once than there are processors.
go test -short -parallel 16 ./... >"$work/go" 2>&1
status=$?
grep -v 'no test files' "$work/go"

# functions PATTERN FILES…: counts test functions.
functions() { pattern=$1; shift; cat "$@" | grep -cE "^func $pattern"; }

tests=$(functions 'Test[A-Z][A-Za-z0-9]*\(t ' $(git ls-files '*_test.go' 2>/dev/null || find . -name '*_test.go'))
checks=$(cat $(git ls-files '*_test.go' 2>/dev/null || find . -name '*_test.go') | grep -cE '[tT][.](Error|Fatal)f?[(]|[.](Expect|Gets|Acked|Counts)[(]')
faults=$(functions 'Test[A-Z][A-Za-z0-9]*\(t ' test/faults/*_test.go test/outage/*_test.go)
stand=$(grep -cE "^  \['" test/node/stand/faults.mjs)
fuzzed=$(sh test/fuzz.sh list | cut -d ' ' -f 1 | sort -u)
seeds=$(go test -short -v -run '^Fuzz' $fuzzed 2>&1 | grep -cE '^ +--- PASS: Fuzz')
cases="unknown, Node.js is not installed"
if command -v node >/dev/null; then
  cases=$(node test/conformance/list.mjs | sed -nE '1s/ cases,.*//p')
fi
cat <<END

tests: $tests, with $checks lines that can fail one
conformance cases: $cases
faults: $faults tests, and $stand of the compose stand
fuzz seeds: $seeds
END
exit "$status"
