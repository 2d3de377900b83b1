package test

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestEmitToAll(t *testing.T) {
	s := begin(t, usual())
	a, b, other := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("other", "/")
	s.Publish("sio.chat.emit.all", `["news" , {"b":1.0, "a":"\u00e9\/"} ] `)
	a.Gets(`["news" , {"b":1.0, "a":"\u00e9\/"} ] `)
	b.Gets(`["news" , {"b":1.0, "a":"\u00e9\/"} ] `)
	s.onlyMarker(a, b, other)
}

// The official client takes white space after the namespace for an ack id, so white space before the array is removed.
func TestWhiteSpaceBeforeTheArrayIsLeftOut(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.Publish("sio.chat.emit.all", " \t\r\n[\"news\", 1 ]\n")
	a.Gets("[\"news\", 1 ]\n")
	s.Publish(a.Ack("3"), ` ["yes"]`)
	a.Expect(`43/chat,3["yes"]`)
	s.Publish(a.Address(), ` ["file",{"_placeholder":true,"num":0}]abc`, "Sio-Attachments: 3")
	a.Expect(`451-/chat,["file",{"_placeholder":true,"num":0}]`)
	a.Expect("babc")
}

func TestEmitToARoom(t *testing.T) {
	s := begin(t, usual())
	a, b, other := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("other", "/")
	for room, tail := range map[string]string{
		"vip": "vip", "order.123": "order.123", "한국 방": "한국%20방", "*": "%2A", "all": "all", "": "%", ".": "%2E", "a>": "a%3E",
	} {
		s.join(a, `["`+room+`"]`)
		s.join(other, `["`+room+`"]`)
		s.Publish("sio.chat.emit.room."+tail, `["to","`+room+`"]`)
		a.Gets(`["to","` + room + `"]`)
	}
	s.Publish("sio.chat.emit.room.order", `["no"]`)
	s.Publish("sio.chat.emit.room.order.123.x", `["no"]`)
	s.Publish("sio.chat.emit.room.%76ip", `["another spelling"]`)
	s.Publish("sio.chat.emit.room.nobody", `["no"]`)
	s.onlyMarker(a, b, other)
}

func TestEmitToASocket(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.Publish(a.Address(), `["direct"]`)
	a.Gets(`["direct"]`)
	s.Publish("sio.chat.emit.socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", `["nobody"]`)
	s.Publish("sio.chat.emit.socket."+s.ID, `["no socket"]`)
	s.Publish("sio.chat.emit.socket."+a.ID+".x", `["no socket"]`)
	s.Counts("dropped_total", "unknown socket", 1)
	s.onlyMarker(a, b)
}

// A service that may publish to one namespace must not reach another through a socket's id.
func TestSocketUnderAnotherNamespaceIsNotReached(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	other := edgetest.Enter(a.Client, "/", "")
	s.Publish("sio._.emit.socket."+a.ID, `["no"]`)
	s.Publish("sio._.ack."+a.ID+".1", `["no"]`)
	s.Publish("sio.nowhere.emit.socket."+a.ID, `["no"]`)
	s.Publish("sio._.ack."+a.ID+".connect", "", "Sio-Error: no")
	s.fails("sio._.disconnect.socket."+a.ID, "", "unknown socket")
	s.fails("sio._.join.socket."+a.ID, `["vip"]`, "unknown socket")
	s.Counts("dropped_total", "wrong namespace", 4)
	s.Publish("sio._.emit.room.vip", `["no"]`)
	s.Publish("sio.chat.emit.room.vip", `["no"]`)
	s.onlyMarker(a, other)
}

// The reply subject of an emit does not matter. It may be a JetStream publisher's inbox, or a socket.
func TestEmitIgnoresItsReply(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	inbox := s.hear("_INBOX.test")
	for _, reply := range []string{"_INBOX.test", a.Address(), a.Ack("1")} {
		s.PublishReply("sio.chat.emit.all", reply, `["news"]`)
		a.Gets(`["news"]`)
		b.Gets(`["news"]`)
	}
	s.Publish("_INBOX.test", "marker")
	inbox.Gets("_INBOX.test", "", "marker")
	s.onlyMarker(a, b)
}

// The set of verbs is open.
func TestUnknownVerbsAreIgnored(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.join(a, `["vip"]`)
	for _, verb := range []string{"frobnicate", "Emit", "EMIT", "on", "_"} {
		s.Publish("sio.chat."+verb+".socket."+a.ID, `["no"]`)
		s.Publish("sio.chat."+verb+".room.vip", `["no"]`)
		s.Publish("sio.chat."+verb+".all", `["no"]`)
	}
	s.Publish("sio.chat.broadcast.socket."+a.ID, `["no"]`)
	s.onlyMarker(a)
}

// The official client drops its connection on each of these: one bad publish must not disconnect a room.
func TestBadBodiesAreDropped(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.join(a, `["vip"]`)
	bad := []string{
		"", "hello", `{"stream":"tap","seq":1}`, `[]`, `[null]`, `[true]`, `[["x"]]`, `[{}]`, `["x"`, `["x"],`, `["x"]x`, `null`, `"x"`, `1`,
		`["connect"]`, `["connect_error"]`, `["disconnect"]`, `["disconnecting"]`, `["newListener"]`, `["removeListener"]`,
		`["dis\u0063onnect"]`, "[\"x\",\"\xff\"]", `["x",]`, `["\ud800"]`, `['x']`, `["x",NaN]`, "\xef\xbb\xbf[\"x\"]",
		`["x",` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "]",
	}
	for i, body := range bad {
		s.Publish([]string{"sio.chat.emit.all", "sio.chat.emit.room.vip", a.Address(), "sio.chat.broadcast.all"}[i%4], body)
	}
	s.onlyMarker(a)
	s.Counts("dropped_total", "bad body", len(bad))
	s.Counts("sockets", "", 1)
	s.Publish("sio.chat.emit.all", `[5,"a number may be a name"]`)
	a.Gets(`[5,"a number may be a name"]`)
}

func TestBadSubjectsAreIgnored(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	for _, subject := range []string{
		"sio.chat.emit", "sio.chat.emit.all.x", "sio.chat.emit.room", "sio.chat.emit.vip", "sio.chat", "sio", "other.chat.emit.all",
		"sio.$edge.emit.all", "sio.chat.emit.ALL", "SIO.chat.emit.all",
	} {
		s.Publish(subject, `["no"]`)
	}
	s.onlyMarker(a)
}

func TestSocketIsReachedInNoNamespaceAfterItsEnd(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	a.Send("41/chat,")
	s.Counts("sockets", "", 0)
	s.Publish(a.Address(), `["late"]`)
	s.Publish(a.Ack("1"), `["late"]`)
	s.Counts("dropped_total", "unknown socket", 2)
	edgetest.Eventually(t, "nothing comes", func() bool { return a.Pending() == 0 })
}
