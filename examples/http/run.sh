#!/bin/sh
# Runs the chat of `make run` with hook.py and the HTTP API, until Ctrl-C. `make example-http` calls it.
set -eu
cd "$(dirname "$0")/../.."
. examples/ports.sh
work=.cache/example-http
mkdir -p "$work"
[ -s "$work/hook-secrets" ] || (umask 077 && echo "whsec_$(openssl rand -base64 32)" >"$work/hook-secrets")
[ -s "$work/key" ] || (umask 077 && ./bin/embedded key --name example >"$work/key" 2>"$work/key.yaml")
hash=$(sed -n 's/.*hash: "\(.*\)"/\1/p' "$work/key.yaml")
export PARTYLINE_API_KEYS="[{\"name\":\"example\",\"hash\":\"$hash\",\"namespaces\":[\"/chat_room\"],\"verbs\":[\"emit\"],\"rooms\":[\"*\"]}]"
echo "Publish with GATEWAY=http://127.0.0.1:$gateway_port GATEWAY_KEY=$(cat "$work/key")"
HOOK_SECRETS_FILE=$work/hook-secrets exec sh examples/run.sh examples/http/partyline.yaml python3 examples/http/hook.py "$hook_port"
