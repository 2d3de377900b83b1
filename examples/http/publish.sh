#!/bin/sh
# Publishes to a room with curl. The text must need no escapes in JSON.
#
#   GATEWAY=http://127.0.0.1:3080 GATEWAY_KEY=partyline_… sh publish.sh news "It works"
set -eu
curl -sS --fail-with-body "$GATEWAY/v1/emit" -H "Authorization: Bearer $GATEWAY_KEY" -H 'Content-Type: application/json' \
  -d "{\"namespace\":\"/chat_room\",\"to\":{\"room\":\"$1\"},\"event\":[\"message\",\"$2\"]}" >&2
