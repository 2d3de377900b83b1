package edge_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

func TestThinnestPath(t *testing.T) {
	server := natsdtest.Start(t)
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL()}).Ready()
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a, b := n.Dial("a"), n.Dial("b")
	idA := a.Connect("/chat_room", "")
	b.Connect("/chat_room", "")
	a.Send(`42/chat_room,0["join","room"]`)
	a.Expect(`43/chat_room,0[{"ok":true}]`)
	b.Send(`42/chat_room,7["join","room"]`)
	b.Expect(`43/chat_room,7[{"ok":true}]`)
	a.Send(`42/chat_room,["message","hello"]`)
	b.Expect(`42/chat_room,["message","hello"]`)
	if err := nc.Publish("sio.chat_room.emit.room.room", []byte(`["message","hi"]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`42/chat_room,["message","hi"]`)
	b.Expect(`42/chat_room,["message","hi"]`)
	if err := nc.Publish("sio.chat_room.emit.socket."+idA, []byte(`["direct","x"]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`42/chat_room,["direct","x"]`)
}
