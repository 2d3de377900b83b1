#!/bin/sh
# `make secrets`: writes a random value for each variable that compose.yaml requires to .env, which Docker Compose reads.
# What the file has already stays as it is. usage: secrets.sh [FILE]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
file=${1:-$root/.env}
compose=$root/compose.yaml

umask 077
touch "$file"
chmod 600 "$file"
[ -z "$(tail -c 1 "$file")" ] || echo >>"$file" # its last line had no end
for name in $(grep -o '[A-Z_]*:?' "$compose" | tr -d ':?' | sort -u); do
  grep -q "^$name=." "$file" && continue
  value=$(od -An -N 24 -t x1 /dev/urandom | tr -d ' \n')
  [ ${#value} = 48 ] || { echo "secrets.sh: /dev/urandom gives no bytes" >&2; exit 1; }
  echo "$name=s$value" >>"$file" # nats-server takes a value for a string if it begins with a letter
  echo "$name: written to $file"
done
