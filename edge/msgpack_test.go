package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partyline/bus"
	"partyline/engine/enginetest"
	"partyline/wire/sio"
)

// A message is encoded once per dialect, for any number of clients, and not at all in a dialect without clients.
func TestParcelsAreEncodedOnce(t *testing.T) {
	p := packet{kind: sio.Event, namespace: "/chat", body: []byte(`["x"]`)}
	first, err := p.encoded(speaksJSON, 1000)
	if err != nil || p.frames[speaksMsgpack] != nil {
		t.Fatalf("%v, msgpack made: %t", err, p.frames[speaksMsgpack] != nil)
	}
	if again, _ := p.encoded(speaksJSON, 1000); again != first {
		t.Error("JSON was encoded twice")
	}
	p = packet{kind: sio.Event, namespace: "/chat", body: []byte(`["x"]`)}
	first, err = p.encoded(speaksMsgpack, 1000)
	if err != nil || p.frames[speaksJSON] != nil {
		t.Fatalf("%v, JSON made: %t", err, p.frames[speaksJSON] != nil)
	}
	if again, _ := p.encoded(speaksMsgpack, 1000); again != first {
		t.Error("msgpack was encoded twice")
	}
}

func TestAllocDeliveryAsMsgpack(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector sync.Pool drops items")
	}
	x := newBench(t, 20, openRoom)
	for _, c := range x.connections { // in this test the clients need not decode it
		c.dialect = speaksMsgpack
	}
	m := &bus.Message{
		Subject: "sio.chat.emit.room.room", Data: []byte(`["message","` + strings.Repeat("x", 100) + `"]`),
	}
	x.handle(m)
	const most = 6 // the frame, its bytes and the list of its one attachment, containers, namespace
	if allocs := enginetest.Allocs(most, func() { x.handle(m) }); allocs > most {
		t.Errorf("a delivery to 20 sockets costs %v allocations", allocs)
	}
}

// A frame that is made elsewhere would not consider the dialects of its receivers.
func TestFramesAreMadeOfPackets(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name != "packet.go" && !strings.HasSuffix(name, "_test.go") && strings.Contains(string(source), "eio.NewMessage(") {
			t.Errorf("%s makes a frame itself; a packet must do it for each client", name)
		}
	}
}
