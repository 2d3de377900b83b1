#!/bin/sh
# run.sh CONFIG COMMAND…: runs an edge with NATS inside and, once it is ready, a service, until Ctrl-C. The Makefile calls it.
set -eu
cd "$(dirname "$0")/.."
config=$1
shift
. examples/ports.sh
if [ "$PORT_BASE" != 3000 ]; then # so do the ports in the file, and its folder: another copy may use that
  moved=.cache/example-$PORT_BASE.yaml
  mkdir -p .cache
  sed -e "s/:3010/:$page_port/g; s/:3080/:$gateway_port/g; s/:3081/:$hook_port/g; s/\({dir: [^}]*\)}/\1-$PORT_BASE}/" "$config" >"$moved"
  config=$moved
fi

apart=$(command -v setsid || :) # Ctrl-C does not reach it, so that the service can leave before NATS ends
$apart ./bin/embedded --config "$config" &
edge=$!
service=
finish() {
  trap - EXIT INT TERM
  [ -z "$service" ] || { kill "$service" 2>/dev/null && wait "$service"; } || :
  kill "$edge" 2>/dev/null && wait "$edge" || :
}
trap finish EXIT
trap 'exit 0' INT TERM

until ./bin/embedded --config "$config" --health >/dev/null 2>&1; do
  kill -0 "$edge" 2>/dev/null || exit 1 # its log has the reason
  sleep 0.1
done
"$@" &
service=$!
echo "The service is process $service. To stop it alone: kill $service"
wait "$service" || exit
service=
echo 'The service has ended. The edge goes on, for other copies of it, until Ctrl-C.'
wait "$edge"
