#!/bin/sh
# Runs everything: `make test`. It installs what the tests need, if it may, goes on after a failure, and prints at the end what failed
# and what was left out.
set -u
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# run NAME COMMAND…: runs a step and keeps its output for the summary.
run() {
  name=$1
  shift
  printf '\n=== %s\n' "$name"
  { "$@" 2>&1; echo $? >"$work/status"; } | tee -a "$work/output"
  if [ "$(cat "$work/status")" != 0 ]; then
    failed=1
    echo "$name" >>"$work/failed"
  fi
}

leave_out() { echo "LEFT OUT: $1" | tee -a "$work/output"; }

# missing COMMANDS…: reports whether one of the commands is not there.
missing() {
  for one in "$@"; do
    command -v "$one" >/dev/null || return 0
  done
  return 1
}

# permitted PACKAGES…: reports whether this script may install packages as root. It asks, unless CI is set; without a
# terminal the answer is no.
permitted() {
  [ -z "${CI:-}" ] || return 0
  { [ -t 0 ] && [ -t 1 ]; } || return 1
  printf 'May I install %s as root, with apt-get? [y/N] ' "$*"
  read -r answer || answer=
  case $answer in [yY] | [yY][eE][sS]) return 0 ;; esac
  return 1
}

# install WHAT PACKAGES…: installs Debian's packages, which the tests called WHAT need, or leaves these out. Debian starts
# the servers that it installs, and they would listen on ports 80 and 2019.
install() {
  what=$1
  shift
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    leave_out "$what: install $* (with root and apt this script does it)"
    return
  fi
  permitted "$@" || { leave_out "$what: install $* (CI=1 make test does it)"; return; }
  echo "installing $*"
  policy=/usr/sbin/policy-rc.d
  if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >"$work/apt" 2>&1 ||
    { tail -5 "$work/apt"; leave_out "$what: apt could not install $*"; }
  [ -z "$policy" ] || rm -f "$policy"
}

install_npm() {
  if ! command -v npm >/dev/null; then
    leave_out "the official clients and the browser: install Node.js and npm"
    return
  fi
  (cd test/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) ||
    leave_out "the official clients and the browser: npm could not install test/node"
  (cd node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) ||
    leave_out "the package for Node.js: npm could not install node"
  (cd test/conformance && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) ||
    leave_out "the comparison with the reference server: npm could not install test/conformance"
}

# quietly COMMAND…: runs go test -v; only that prints what a test left out. After a success only that and Go's own lines are
# shown.
quietly() {
  "$@" >"$work/go" 2>&1
  status=$?
  if [ "$status" = 0 ]; then
    grep -oE '^(ok|FAIL|[?]) .*|(LEFT OUT|CONFORMANCE): .*' "$work/go"
  else
    grep -vE '^(=== |PASS$| *--- (PASS|SKIP))' "$work/go"
  fi
  return "$status"
}

# All Go tests.
go_tests() { quietly go test -race -v -timeout 20m ./...; }

# Only in the packages that have such tests: linking all the others takes a minute.
allocation_tests() {
  go test -run Alloc $(git ls-files '*_test.go' | xargs grep -lE '^func Test[A-Za-z0-9_]*Alloc' | xargs -n1 dirname | sort -u | sed 's|^|./|')
}

# Short runs of every fuzz target, starting with their seeds.
fuzz() { FUZZTIME="${FUZZTIME:-36s}" sh test/fuzz.sh; }

# The document of the HTTP API against its handlers, in a module of its own.
openapi_tests() { go vet -C test/openapi ./... && go test -C test/openapi ./...; }

# The benchmark is a separate module. This step measures nothing: `make bench` does.
benchmark_tests() { go vet -C bench ./... && go test -C bench ./...; }

if missing chromium && missing chromium-browser && missing google-chrome; then install "the browser" chromium; fi
if missing nginx haproxy caddy; then install "the examples of proxies" nginx-light haproxy caddy; fi
if missing php; then install "the examples in PHP" php-cli; fi
install_npm
run gofmt sh test/gofmt.sh
run vet go vet ./...
run build go build ./...
run "unit, behaviours, official clients, browser (some minutes)" go_tests
run "allocations, which -race hides" allocation_tests
run "what sessions cost, without the memory of -race" go test -run TestWhatASessionMayCost ./test/hostile
run "fuzz targets, briefly" fuzz
run "the benchmark's own tests" benchmark_tests
run "OpenAPI" openapi_tests
leave_out "net/http, Gin and Echo, and the Helm chart, which compile thousands of files of others: make test-release"
if command -v node >/dev/null; then
  run "the page's own code" node --test web/page/contract.test.mjs
fi

printf '\n=== summary\n'
grep -hE '^(LEFT OUT|CONFORMANCE)' "$work/output" | sort -u
if [ "$failed" = 0 ]; then
  echo "all passed"
else
  echo "FAILED:"
  cat "$work/failed"
fi
exit "$failed"
