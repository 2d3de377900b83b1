#!/bin/sh
# Copies the official Socket.IO client, from the npm package that package.json pins, to where `go build` embeds it.
# Does nothing if that version is there already. Needs npm.
set -eu
cd "$(dirname "$0")"

wanted=$(sed -n 's/.*"socket\.io-client": *"\([^"]*\)".*/\1/p' package.json)
# VERSION is written last and removed first, so an incomplete copy counts as missing.
[ "$(cat client/VERSION 2>/dev/null || :)" = "$wanted" ] && exit 0

npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
rm -f client/VERSION client/*.js client/*.js.map
cp node_modules/socket.io-client/dist/*.js node_modules/socket.io-client/dist/*.js.map client/
echo "$wanted" >client/VERSION
