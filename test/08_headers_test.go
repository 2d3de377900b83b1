package test

import (
	"net/http"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// crowd is four sockets: a in x, b in x and y, c in y, d in no room.
func (s *stage) crowd() (a, b, c, d *socket) {
	s.t.Helper()
	a, b, c, d = s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat"), s.Enter("d", "/chat")
	s.join(a, `["x"]`)
	s.join(b, `["x","y"]`)
	s.join(c, `["y"]`)
	return a, b, c, d
}

// reaches sends an event to a target and wants exactly these to get it, once.
func (s *stage) reaches(subject, reply string, headers []string, who []*socket, everybody ...*socket) {
	s.t.Helper()
	s.PublishReply(subject, reply, `["news"]`, headers...)
	for _, so := range who {
		so.Gets(`["news"]`)
	}
	s.onlyMarker(everybody...)
}

func TestRoomsAreAUnion(t *testing.T) {
	s := begin(t, usual())
	a, b, c, d := s.crowd()
	for _, test := range []struct {
		names []string
		who   []*socket
	}{
		{[]string{"x"}, []*socket{a, b}},
		{[]string{"x", "y"}, []*socket{a, b, c}},
		{[]string{"x", "x", "nobody"}, []*socket{a, b}},
		{[]string{"nobody"}, nil},
		{[]string{d.ID}, []*socket{d}},
		{[]string{"y", d.ID, b.ID}, []*socket{b, c, d}},
		{[]string{"x,y"}, nil}, // one name per header
	} {
		var headers []string
		for _, name := range test.names {
			headers = append(headers, "Sio-Rooms: "+name)
		}
		s.reaches("sio.chat.emit.all", "", headers, test.who, a, b, c, d)
		s.reaches("sio.chat.broadcast.all", "", headers, test.who, a, b, c, d)
	}
	s.reaches("sio.chat.broadcast.all", b.Address(), []string{"Sio-Rooms: x", "Sio-Rooms: y"}, []*socket{a, c}, a, b, c, d)
}

func TestExceptLeavesOut(t *testing.T) {
	s := begin(t, usual())
	a, b, c, d := s.crowd()
	for _, test := range []struct {
		target  string
		headers []string
		who     []*socket
	}{
		{"all", []string{"Sio-Except: x"}, []*socket{c, d}},
		{"all", []string{"Sio-Except: x", "Sio-Except: y"}, []*socket{d}},
		{"all", []string{"Sio-Except: " + a.ID}, []*socket{b, c, d}},
		{"all", []string{"Sio-Except: y", "Sio-Except: " + d.ID, "Sio-Except: nobody"}, []*socket{a}},
		{"all", []string{"Sio-Rooms: x", "Sio-Except: y"}, []*socket{a}},
		{"all", []string{"Sio-Rooms: " + d.ID, "Sio-Rooms: x", "Sio-Except: " + a.ID}, []*socket{b, d}},
		{"room.x", []string{"Sio-Except: y"}, []*socket{a}},
		{"room.x", []string{"Sio-Except: " + a.ID}, []*socket{b}},
		{"room.x", []string{"Sio-Rooms: y"}, []*socket{a, b}}, // only all supports Sio-Rooms
		{"all", []string{"sio-except: x", "Sio-Other: y"}, []*socket{a, b, c, d}},
		{"all", []string{"SIO-ROOMS: x"}, []*socket{a, b, c, d}},
		{"socket." + a.ID, []string{"Sio-Except: x", "Sio-Rooms: y"}, []*socket{a}}, // without effect here
	} {
		s.reaches("sio.chat.emit."+test.target, "", test.headers, test.who, a, b, c, d)
	}
	s.reaches("sio.chat.broadcast.all", c.Address(), []string{"Sio-Except: x"}, []*socket{d}, a, b, c, d)
}

// Names are escaped in headers as in subjects.
func TestNamesInHeadersAreEscaped(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, `["한국 방","a.b","*"," "]`)
	for _, name := range []string{"한국%20방", "a.b", "%2A", "%20"} {
		s.reaches("sio.chat.emit.all", "", []string{"Sio-Rooms: " + name}, []*socket{a}, a, b)
		s.reaches("sio.chat.emit.all", "", []string{"Sio-Except: " + name}, []*socket{b}, a, b)
	}
	s.reaches("sio.chat.emit.all", "", []string{"Sio-Rooms: *", "Sio-Rooms: a%2Eb"}, nil, a, b)
}

func TestHeadersReachNoOtherNamespace(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	other := edgetest.Enter(a.Client, "/", "")
	s.join(other, `["x"]`)
	s.reaches("sio.chat.emit.all", "", []string{"Sio-Rooms: " + other.ID, "Sio-Rooms: x"}, nil, a, other)
	s.reaches("sio.chat.emit.all", "", []string{"Sio-Except: " + other.ID, "Sio-Except: x"}, []*socket{a}, a, other)
}

func TestHeadersWithOtherVerbs(t *testing.T) {
	s := begin(t, usual())
	a, b, c, d := s.crowd()
	s.change("sio.chat.join.all", `["z"]`, 3, "Sio-Rooms: x", "Sio-Rooms: y")
	s.reaches("sio.chat.emit.room.z", "", nil, []*socket{a, b, c}, a, b, c, d)
	s.change("sio.chat.leave.all", `["z"]`, 2, "Sio-Except: y")
	s.change("sio.chat.leave.room.z", `["z"]`, 1, "Sio-Except: "+c.ID)
	s.reaches("sio.chat.emit.room.z", "", nil, []*socket{c}, a, b, c, d)
	s.change("sio.chat.disconnect.all", "", 1, "Sio-Rooms: x", "Sio-Except: y")
	a.Expect("41/chat,")
	s.change("sio.chat.disconnect.room.y", "", 1, "Sio-Except: "+b.ID)
	c.Expect("41/chat,")
	s.onlyMarker(b, d)
}

func TestVolatileIsDroppedForTheBusy(t *testing.T) {
	s := begin(t, usual())
	idle, busy := s.Enter("idle", "/chat"), s.poll()
	busy.enter("/chat") // and does not poll
	s.Publish("sio.chat.emit.all", `["position",1]`, "Sio-Volatile: true")
	idle.Gets(`["position",1]`)
	s.Publish("sio.chat.emit.all", `["news"]`)
	idle.Gets(`["news"]`)
	s.Counts("volatile_dropped_total", "", 1)
	if got := busy.get(); got != `42/chat,["news"]` {
		t.Errorf("the busy client got %q", got)
	}
}

func TestCompressIsForPollingReplies(t *testing.T) {
	s := begin(t, usual())
	client := s.poll()
	client.enter("/chat")
	large := `["news","` + strings.Repeat("x", 2000) + `"]`
	for _, c := range []struct {
		headers  []string
		encoding string
	}{{nil, "gzip"}, {[]string{"Sio-Compress: false"}, ""}, {[]string{"Sio-Compress: true"}, "gzip"}} {
		s.Publish("sio.chat.emit.all", large, c.headers...)
		header, _ := client.fetch(http.Header{"Accept-Encoding": {"gzip"}})
		if got := header.Get("Content-Encoding"); got != c.encoding {
			t.Errorf("with %q the reply has the encoding %q", c.headers, got)
		}
	}
}

// Only the edge sets Sio-User: nothing that a client sends can set or change it.
func TestUserComesWithEveryEvent(t *testing.T) {
	s := begin(t, rules{"/door": {}})
	s.serve("door", `[{"user":"ann"}]`)
	a := s.Enter("a", "/door")
	events := s.hear("sio.door.on.*")
	a.Emit("", `["plain",{"Sio-User":"bob"}]`)
	a.Emit("1", `["asked"]`)
	a.Send(`451-/door,["file",{"_placeholder":true,"num":0}]`)
	a.SendBinary([]byte("abc"))
	a.Send("41/door,")
	for range 4 {
		m := events.Next()
		if got := m.Header.Values("Sio-User"); len(got) != 1 || got[0] != "ann" {
			t.Errorf("%s has the users %q", m.Subject, got)
		}
	}
}
