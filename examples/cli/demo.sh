#!/bin/sh
# demo.sh: what any NATS client can do with Socket.IO clients, one command each. It uses a tab of `make run`: start that in
# another terminal, open http://localhost:3000, press Join, and run this. Every command is printed before it runs, and can
# be run by hand from the repository's folder.
set -eu
cd "$(dirname "$0")/../.."
nats=${NATS_URL:-nats://127.0.0.1:4222}

# run TOOL ARGUMENTS…: shows and runs one of the example programs of nats.go.
run() {
  tool=github.com/nats-io/nats.go/examples/$1
  shift
  printf '$ go run %s -s %s' "$tool" "$nats"
  printf " '%s'" "$@"
  echo
  go run "$tool" -s "$nats" "$@" 2>&1 | grep -v '^Published' || :
}
pub() { run nats-pub "$@"; } # publishes
req() { run nats-req "$@"; } # sends a request, and prints the first answer
say() { printf '\n# %s\n' "$*"; }

# answer SUBJECT: the first answer to an empty request.
answer() { go run github.com/nats-io/nats.go/examples/nats-req -s "$nats" "$1" '' 2>&1; }

end=$(($(date +%s) + ${PATIENCE:-120}))
id=
while [ -z "$id" ]; do
  id=$(answer sio.chat_room.fetch.room.room | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4) || :
  if [ -z "$id" ]; then
    [ "$(date +%s)" -lt "$end" ] || { echo "No client is in the room called room of /chat_room (NATS at $nats)." >&2; exit 1; }
    echo 'Waiting for a tab: open http://localhost:3000 and press Join.'
    sleep 2
  fi
done
echo "Playing with the socket $id."

say 'fetch: who is in the room, with rooms, data and handshake'
req sio.chat_room.fetch.room.room ''

say 'emit: to everyone in the namespace, to a room, to one socket'
pub sio.chat_room.emit.all '["message","to all"]'
pub sio.chat_room.emit.room.room '["message","to the room"]'
pub "sio.chat_room.emit.socket.$id" '["message","to you alone"]'

say 'broadcast: to everyone in the room but the socket that the reply subject names'
pub -reply "sio.chat_room.emit.socket.$id" sio.chat_room.broadcast.room.room '["message","to the others"]'

say 'ask: an emit that wants an ack; the answer is what the client acks (the page says ok to everything)'
req "sio.chat_room.ask.socket.$id" '["are you there?"]'

say 'join: after the answer, messages to the room reach the socket'
req "sio.chat_room.join.socket.$id" '["vip"]'
pub sio.chat_room.emit.room.vip '["message","to important persons"]'

say 'rooms: how many sockets are in which room'
req sio.chat_room.rooms.all ''

say 'data: an object that stays with the socket; set it, and get it'
req "sio.chat_room.data.socket.$id" '[{"plan":"pro"}]'
req "sio.chat_room.data.socket.$id" ''

say 'leave'
req "sio.chat_room.leave.socket.$id" '["vip"]'

say 'disconnect: the page shows it, and has a button to come back'
req "sio.chat_room.disconnect.socket.$id" ''
