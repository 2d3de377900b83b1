#!/bin/sh
# `make test-compose`: builds and starts compose.yaml as a separate project on free ports, tests it (guards.mjs, then
# faults.mjs), and removes it. It uses the running Docker engine. If there is none, DOCKER_HERE may name a script whose `up`
# starts one with the base images, and whose `down` ends it. With OPTIONAL=1 it succeeds on a machine without an engine.
# RUNS=10 repeats the faults ten times, because what fails once in ten times is wrong, too.
set -u
cd "$(dirname "$0")/../../.."

export COMPOSE_PROJECT_NAME="partyline-test-$$"
# The client is fetched already, so no image with npm is needed.
export CLIENT_IMAGE=golang:1.26-alpine

leave_out() {
  echo "LEFT OUT: the compose stand: $1"
  [ "${OPTIONAL:-}" = 1 ] && exit 0
  exit 1
}

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }

# Secrets of its own: variables count before those of .env.
secrets=$(mktemp)
sh deploy/secrets.sh "$secrets" >/dev/null
set -a
# shellcheck disable=SC1090
. "$secrets"
set +a
rm -f "$secrets"

engine_is_ours=
# shellcheck disable=SC2329
end() {
  status=$?
  trap - EXIT INT TERM
  if [ "$status" != 0 ]; then
    echo "--- what the containers say"
    compose ps
    compose logs --no-color --tail=60
  fi
  compose down --volumes --timeout 5 >/dev/null 2>&1 || echo "the stand could not be taken away"
  [ -z "$engine_is_ours" ] || "$DOCKER_HERE" down >/dev/null 2>&1
  exit "$status"
}

command -v node >/dev/null && [ -d test/node/node_modules ] || leave_out "Node.js or its packages are missing (cd test/node && npm ci)"
if ! docker info >/dev/null 2>&1; then
  [ -x "${DOCKER_HERE:-}" ] || leave_out "no Docker engine runs here"
  echo "starting a Docker engine"
  "$DOCKER_HERE" up >/tmp/$COMPOSE_PROJECT_NAME.log 2>&1 || { tail -5 /tmp/$COMPOSE_PROJECT_NAME.log; leave_out "the engine did not start"; }
  rm -f /tmp/$COMPOSE_PROJECT_NAME.log
  engine_is_ours=1
fi
trap end EXIT
trap 'exit 1' INT TERM
compose version >/dev/null 2>&1 || leave_out "there is an engine, but no compose"

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }
PORT=$(free_port)
NATS_PORT=$(free_port)
export PORT NATS_PORT

echo "building the images"
began=$(date +%s)
log=$(mktemp) # not in this folder: a change there would make each image build everything again
compose build >"$log" 2>&1 || { cat "$log"; rm -f "$log"; exit 1; }
rm -f "$log"
echo "built in $(($(date +%s) - began)) s; starting the stand"
compose up -d >/dev/null 2>&1 || exit 1
export PARTYLINE_URL="http://127.0.0.1:$PORT"
timeout 120 node test/node/stand/guards.mjs || exit 1
run=0
while [ "$run" -lt "${RUNS:-1}" ]; do
  run=$((run + 1))
  echo "run $run of ${RUNS:-1}"
  timeout 300 node test/node/stand/faults.mjs || { echo "run $run of ${RUNS:-1} failed"; exit 1; }
done
