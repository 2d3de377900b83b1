package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/wire/sio"
)

// FuzzBus publishes arbitrary messages from NATS to an edge with a client: any subject below the prefix, any reply
// subject, body and headers. The edge must not panic, two clients beside it must go on talking, and nothing may go to
// the client at which the official client would close its connection.
//
// Each line of the input is a message: subject without the prefix, reply subject, body, and headers ("Name: value"
// with semicolons between them), with tabs between these. SELF stands for the client's socket id, EDGE for the edge's
// id. A line that begins with > is a packet of the client.
func FuzzBus(f *testing.F) {
	for _, seed := range []string{
		"chat.emit.all\t\t[\"x\",1]", "chat.emit.socket.SELF\t\t[\"x\"]", "chat.broadcast.room.a\tsio.chat.ack.SELF.3\t[\"x\"]\tSio-Except: SELF",
		"chat.join.all\t_INBOX.a\t[\"a\",\"b\"]\nchat.emit.room.a\t\t[\"x\"]\tSio-Volatile: true\nchat.leave.socket.SELF\t_INBOX.a\t[\"a\"]",
		"chat.emit.all\t\t[\"x\",{\"_placeholder\":true,\"num\":0}]ab\tSio-Attachments: 2", "chat.emit.all\t\t[\"x\"]\tSio-Attachments: 9,-1,x;Sio-Compress: false",
		"chat.ask.socket.SELF\t_INBOX.a\t[\"x\"]\tSio-Timeout: 10\n>43/chat,0[1]", "chat.ask.all\t_INBOX.a\t[\"x\"]\tSio-Timeout: 1", "chat.fetch.all\t_INBOX.a\t", "chat.rooms.all\t_INBOX.a\t[]",
		"chat.data.socket.SELF\t_INBOX.a\t[{\"a\":1}]\nchat.data.socket.SELF\t_INBOX.a\t", "chat.disconnect.socket.SELF\t\t[]", "chat.disconnect.all\t\t[true]", "chat.pause.socket.SELF\t\t[\"i\"]\n>42/chat,[\"y\"]\nchat.resume.socket.SELF\t\t[\"i\"]",
		">42/chat,7[\"y\"]\nchat.ack.SELF.7\t\t[1]\nchat.ack.SELF.7\t\t{}", "chat.ack.SELF.99999999999999999999\t\t[1]", "chat.emit.all\t\t[\"connect\"]", "chat.emit.all\t\t[\"disconnecting\",1]",
		"chat.emit.all\t\t[1]", "chat.emit.all\t\tnot json", "chat.emit.all\t\t[\"\xff\"]", "chat.emit.all\t\t[\"x\",{\"_placeholder\":true,\"num\":7}]", "chat.emit.all\t\t",
		"svc.ack.SELF.connect\t\t[{\"rooms\":[\"a\"]}]", ">40/svc,\nsvc.emit.all\t\t[\"x\"]", "$edge.other.hello\t\t[{\"edge\":\"other\",\"at\":1,\"every\":1000}]", "$edge.EDGE.gone\t\t[{\"edge\":\"EDGE\"}]", "$svc.g.i.hello\t\t[{\"instance\":\"i\",\"group\":\"g\",\"owns\":true,\"namespaces\":[\"/*\"]}]",
		"$svc.g.i.bye\t\t[{}]", "$edge.EDGE.pong.i\t\t[]\tSio-Error: not owner", "chat.own.i.connect\t_INBOX.a\t[]", "..\t\t", "chat.emit.room.%\t\t[\"x\"]", "chat.emit.all.more\t\t[\"x\"]", "chat.later.all\t\t[\"x\"]", "chat.emit.all\t\t[\"x\"]\tSio-Rooms: a;Sio-Rooms: SELF;Sio-Part: 1",
	} {
		f.Add([]byte(seed))
	}
	server := natsdtest.Start(f)
	n := edgetest.Start(f, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{{Event: "message", To: rule.ToAll}}},
		"/svc":  {Connect: rule.ConnectService}, "/beside": {Connect: rule.ConnectOpen, Relay: []rule.Relay{{Event: "say", To: rule.ToAll, Self: true}}},
	}}).Ready()
	nc := edgetest.Connect(f, server.ClientURL())
	silent := enginetest.NewConversation(f)
	beside := func(name string) *edgetest.Socket {
		return edgetest.Enter(enginetest.Dial(f, silent, name, n.URL, nil), "/beside", "")
	}
	pair, said := [2]*edgetest.Socket{beside("ann"), beside("bob")}, 0
	f.Fuzz(func(t *testing.T, program []byte) {
		lines := strings.Split(string(program), "\n")
		if len(lines) > 8 || len(program) > 4000 || strings.Contains(string(program), "beside") ||
			strings.Contains(string(program), "*") && strings.Contains(string(program), "$") {
			return // nothing for the pair
		}
		client := edgetest.Enter(enginetest.Dial(t, enginetest.NewConversation(t), "client", n.URL, nil), "/chat", "")
		defer client.Hangup()
		for _, line := range lines {
			send(nc, client, line)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		said++
		pair[said%2].Emit("", fmt.Sprintf(`["say",%d]`, said))
		for _, so := range pair {
			if got, ok := so.Await(); !ok || got != fmt.Sprintf(`42/beside,["say",%d]`, said) {
				t.Fatalf("the two clients no longer receive from each other: %q %v", got, ok)
			}
		}
		listens(t, nc, client)
	})
}

// send executes a line of FuzzBus.
func send(nc *nats.Conn, client *edgetest.Socket, line string) {
	edgeID, _, _ := strings.Cut(client.ID, ".")
	line = strings.NewReplacer("SELF", client.ID, "EDGE", edgeID).Replace(line)
	if packet, ok := strings.CutPrefix(line, ">"); ok {
		client.Send(packet)
		return
	}
	fields := append(strings.SplitN(line, "\t", 4), "", "", "")
	if strings.ContainsAny(fields[0]+fields[1], " \r\n") || fields[0] == "" || len(fields[0]+fields[1]) > 1000 {
		return // nats.go would not send it
	}
	m := &nats.Msg{Subject: "sio." + fields[0], Reply: fields[1], Data: []byte(fields[2]), Header: nats.Header{}}
	for header := range strings.SplitSeq(fields[3], ";") {
		if name, value, ok := strings.Cut(header, ": "); ok && name != "" && strings.TrimSpace(name) == name && !strings.ContainsAny(name, ":\r\n\x00") {
			m.Header.Add(name, strings.Trim(value, "\r\n"))
		}
	}
	_ = nc.PublishMsg(m)
}

// listens reads all that waits for the client, as the official client would.
func listens(t *testing.T, nc *nats.Conn, client *edgetest.Socket) {
	if err := nc.Publish(client.Address(), []byte(`["the end"]`)); err != nil {
		t.Fatal(err)
	}
	for missing := 0; ; {
		text, ok := client.Await()
		switch {
		case !ok || text == `42/chat,["the end"]`, text == "41/chat,", text == "1":
			return
		case strings.HasPrefix(text, "b"):
			if missing--; missing < 0 {
				t.Fatalf("binary data without a packet: %q", text)
			}
			continue
		case missing > 0:
			t.Fatalf("%q came instead of %d attachments", text, missing)
		}
		p, err := sio.Parse([]byte(strings.TrimPrefix(text, "4")))
		if err == nil {
			err = accepts(p)
		}
		if err != nil || !strings.HasPrefix(text, "4") {
			t.Fatalf("the client got %q: %v", text, err)
		}
		missing = p.Attachments
	}
}

// accepts checks the JSON of a packet as the official client does (socket.io-parser: isPayloadValid,
// _reconstructPacket).
func accepts(p sio.Packet) error {
	var data any
	if err := json.Unmarshal(p.Data, &data); err != nil && p.Data != nil {
		return err
	}
	array, isArray := data.([]any)
	switch p.Type {
	case sio.Event, sio.BinaryEvent:
		if len(array) == 0 {
			return errors.New("an event without a name")
		}
		name, isText := array[0].(string)
		if _, isNumber := array[0].(float64); !isText && !isNumber || slices.Contains(reserved, name) {
			return fmt.Errorf("%v is no name of an event", array[0])
		}
	case sio.Ack, sio.BinaryAck:
		if !isArray {
			return errors.New("an ack without an array")
		}
	}
	if p.Attachments > 0 {
		return placeholders(data, p.Attachments)
	}
	return nil
}

// reserved are the events that socket.io-parser refuses.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// placeholders expects each placeholder to name an attachment.
func placeholders(data any, attachments int) error {
	var all []any
	switch data := data.(type) {
	case []any:
		all = data
	case map[string]any:
		if n, ok := data["num"].(float64); data["_placeholder"] == true && (!ok || n < 0 || int(n) >= attachments) {
			return fmt.Errorf("illegal attachment %v", data["num"])
		}
		all = slices.Collect(maps.Values(data))
	}
	for _, one := range all {
		if err := placeholders(one, attachments); err != nil {
			return err
		}
	}
	return nil
}
