#!/bin/sh
# Copies the built pages of the Socket.IO Admin UI, from the npm packages that package.json pins, to where `go build` embeds
# them. Its index.html has its font and icons from other hosts: they come from npm, too, and both links are rewritten. Does
# nothing if these versions are there already. Needs npm; with OPTIONAL=1 it succeeds without.
set -eu
cd "$(dirname "$0")"

# The number is this script's: count it up when what it copies changes.
wanted="1 $(sed -n 's/.*"\(@[^"]*\)": *"\([^"]*\)".*/\1 \2/p' package.json)"
# VERSION is written last and removed first, so an incomplete copy counts as missing.
[ "$(cat pages/VERSION 2>/dev/null || :)" = "$wanted" ] && exit 0

if ! command -v npm >/dev/null; then
  cat >&2 <<END
npm is missing, and with it the pages of the Admin UI: /ui/ will answer 404. All else works.
To add it, install Node.js with npm and run: make client
END
  [ "${OPTIONAL:-}" = 1 ] && exit 0
  exit 1
fi
# Its server part, which is not used, has socket.io as a peer.
npm ci --legacy-peer-deps --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
mkdir -p pages
find pages -mindepth 1 ! -name README.md -delete
cp -R node_modules/@socket.io/admin-ui/ui/dist/. pages/
cp node_modules/@socket.io/admin-ui/LICENSE pages/LICENSE
find pages -name '*.map' -delete

mkdir -p pages/icons/css pages/icons/fonts pages/font/files
cp node_modules/@mdi/font/css/materialdesignicons.min.css pages/icons/css/
cp node_modules/@mdi/font/fonts/materialdesignicons-webfont.woff2 pages/icons/fonts/
for weight in 100 300 400 500 700 900; do
  # Each part of the alphabet has its own range in the whole file, so browsers load only what they need.
  cat "node_modules/@fontsource/roboto/$weight.css"
  cp node_modules/@fontsource/roboto/files/roboto-*-"$weight"-normal.woff2 pages/font/files/
done >pages/font/roboto.css

sed -e 's|https://fonts\.googleapis\.com/css[^"]*|font/roboto.css|' \
  -e 's|https://cdn\.jsdelivr\.net/npm/@mdi/font@[^"]*|icons/css/materialdesignicons.min.css|' \
  -e 's|<script src="js/chunk-vendors|<script src="settings.js"></script>&|' pages/index.html >pages/rewritten.html
mv pages/rewritten.html pages/index.html
if grep -q '="https\{0,1\}:' pages/index.html || ! grep -q 'settings.js' pages/index.html; then
  echo "fetch-pages.sh: index.html of @socket.io/admin-ui is not the one that this script rewrites" >&2
  exit 1
fi
echo "$wanted" >pages/VERSION
