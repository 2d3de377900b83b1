#!/bin/sh
# Copies the official Socket.IO client, from the npm package that package.json pins, to where `go build` embeds it.
# Does nothing if that version is there already. Needs npm; with OPTIONAL=1 it succeeds without.
set -eu
cd "$(dirname "$0")"

wanted=$(sed -n 's/.*"socket\.io-client": *"\([^"]*\)".*/\1/p' package.json)
# VERSION is written last and removed first, so an incomplete copy counts as missing.
[ "$(cat client/VERSION 2>/dev/null || :)" = "$wanted" ] && exit 0

if ! command -v npm >/dev/null; then
  cat >&2 <<END
npm is missing, and with it the official browser client: /socket.io/socket.io.js will answer 404, so the page
at / and pages that load the client from the edge do not work. Clients with a copy of their own do, and so does all else.
To add it, install Node.js with npm and run: make client
END
  [ "${OPTIONAL:-}" = 1 ] && exit 0
  exit 1
fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
rm -f client/VERSION client/*.js client/*.js.map
cp node_modules/socket.io-client/dist/*.js node_modules/socket.io-client/dist/*.js.map client/
echo "$wanted" >client/VERSION
