#!/bin/sh
# Runs every fuzz target, one after the other: `make fuzz`. It finds the targets itself.
#
#   test/fuzz.sh        runs them for FUZZTIME in all (default 10m; whole hours, minutes or seconds), in equal shares
#   test/fuzz.sh list   prints the targets: package and name, one in a line
#
# PARALLEL is the number of workers (default: one for each processor), ONLY a part of the targets' lines.
#
# Go writes an input that fails into testdata/fuzz of its package. There it is a test from then on: keep the file, and
# commit it together with the mend. Inputs that only reach new code stay in Go's build cache, for the next run.
set -u
cd "$(dirname "$0")/.."

targets() {
  { git ls-files -co --exclude-standard '*_test.go' 2>/dev/null || find . -name '*_test.go'; } |
    xargs grep -soE '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed -E 's|^(\./)?|./|; s|/[^/]*:func | |' | sort
}

seconds() {
  case $1 in
    *[!0-9]*[!0-9]* | [!0-9]* | '') return 1 ;;
    *h) echo $((${1%h} * 3600)) ;;
    *m) echo $((${1%m} * 60)) ;;
    *s) echo "${1%s}" ;;
    *) return 1 ;;
  esac
}

if [ "${1:-}" = list ]; then
  targets
  exit
fi
all=$(targets | grep -F -- "${ONLY:-}") || { echo "fuzz: no target has \"$ONLY\" in its line; see sh test/fuzz.sh list"; exit 1; }
total=$(seconds "${FUZZTIME:-10m}") || { echo "fuzz: FUZZTIME=$FUZZTIME is not a time; write one such as 30s, 10m or 1h"; exit 1; }
count=$(echo "$all" | wc -l)
share=$((total / count > 0 ? total / count : 1))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$count fuzz targets, ${share}s each"

# one PACKAGE TARGET: runs a target. On a busy machine Go's fuzzer may report the end of its time as a failure. Then
# there is no failing input.
one() {
  # Without the last flag Go may spend a minute on making one interesting input smaller.
  go test -run '^$' -fuzz "^$2\$" -fuzztime "${share}s" -fuzzminimizetime 5s ${PARALLEL:+-parallel "$PARALLEL"} "$1" \
    </dev/null >"$work/output" 2>&1
  status=$?
  if [ "$status" != 0 ] && grep -q 'context deadline exceeded' "$work/output" && ! grep -q 'Failing input' "$work/output"; then
    status=0
  fi
  executions=$(grep -oE 'execs: [0-9]+' "$work/output" | tail -1)
  printf '%-22s %-24s %12s executions\n' "$1" "$2" "${executions#execs: }" | tee -a "$work/table"
  [ "$status" = 0 ] || { cat "$work/output"; echo "$1 $2" >>"$work/failed"; }
}

: >"$work/failed"
echo "$all" | while read -r package target; do
  one "$package" "$target"
done
awk '{ n += $3 } END { printf "fuzz: %d executions\n", n }' "$work/table"
[ -s "$work/failed" ] || exit 0
echo "fuzz: FAILED. The inputs are kept in testdata/fuzz of the package, and are tests from now on:"
git status --short -uall 2>/dev/null | grep 'testdata/fuzz'
cat "$work/failed"
exit 1
