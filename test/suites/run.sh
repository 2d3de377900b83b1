#!/bin/sh
# run.sh CHECKOUT [RUNS [MOCHA-ARGUMENT…]]: runs the official protocol suites RUNS times (default 1) against package
# engine and against an edge with a service. CHECKOUT is a copy of github.com/socketio/socket.io; npm installs the
# suites' packages there. The suites expect their server at localhost:3000. NATS listens on port NATS_PORT (4222).
set -eu
checkout=$(cd "${1:?"name the folder with a checkout of socketio/socket.io"}" && pwd)
runs=${2:-1}
shift "$(($# < 2 ? $# : 2))"
cd "$(dirname "$0")/../.."
nats=127.0.0.1:${NATS_PORT:-4222}
work=$(mktemp -d)
servers=
finish() {
  for server in $servers; do
    kill "$server" 2>/dev/null && wait "$server" || :
  done
  servers=
}
trap 'finish; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# await FILE TEXT: waits until a server has printed that it is ready.
await() {
  tries=200
  until grep -q "$2" "$1"; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
      echo "no \"$2\" within 20 s:" && cat "$1" && exit 1
    fi
    sleep 0.1
  done
}

# play SUITE MOCHA-ARGUMENT…: runs the suite RUNS times. Prints what failed.
play() {
  suite=$checkout/docs/$1
  shift
  [ -d "$suite/node_modules" ] || (cd "$suite" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  whole=0
  run=0
  while [ "$run" -lt "$runs" ]; do
    run=$((run + 1))
    if (cd "$suite" && npx mocha test-suite.js "$@") >"$work/run" 2>&1; then
      whole=$((whole + 1))
    else
      echo "run $run:" && cat "$work/run"
    fi
  done
  passing=$(grep -E '^ +[0-9]+ passing' "$work/run" || :)
  echo "$(basename "$(dirname "$suite")"): $whole of $runs runs whole; the last one:$passing"
  [ "$whole" = "$runs" ] || failed=1
}

go build -trimpath -o "$work/" ./test/suites/echo ./test/suites/application ./cmd/embedded
failed=0

"$work/echo" localhost:3000 >"$work/echo.log" 2>&1 &
servers=$!
await "$work/echo.log" 'listens'
play engine.io-protocol/v4-test-suite "$@"
finish

"$work/embedded" --config test/suites/partyline.yaml --listen localhost:3000 --admin.listen 127.0.0.1:0 \
  --embedded.listen "$nats" >"$work/edge.log" 2>&1 &
servers=$!
await "$work/edge.log" 'listening'
NATS_URL=nats://$nats "$work/application" >"$work/application.log" 2>&1 &
servers="$! $servers"
await "$work/application.log" '^ready'
play socket.io-protocol/v5-test-suite "$@"
exit "$failed"
