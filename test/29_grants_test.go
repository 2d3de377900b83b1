package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/rule"
)

// granting are namespaces whose sockets get grants from services.
func granting() rules {
	return rules{
		"/door": {Connect: rule.ConnectService, Rooms: []string{"public-*"}, UserRoom: "user:", Relay: []rule.Relay{
			{Event: "say", To: rule.ToRoomsOrAll, Self: true}, {Event: "shout", To: rule.ToAll, Self: true}}},
		"/bare": {Connect: rule.ConnectService},
		"/open": {Connect: rule.ConnectOpen},
	}
}

// asks emits an event with an ack.
func asks(so *socket, n int, event, ack string) { // answered as the next frame
	so.Emit(fmt.Sprint(n), event)
	so.Expect("43" + so.Head + fmt.Sprint(n) + ack)
}

const ok = `[{"ok":true}]`

// A grant says what a socket may join, leave and emit. What it does not say the namespace says.
func TestAGrantOfAService(t *testing.T) {
	t.Parallel()
	s := begin(t, granting())
	s.serve("door", `[{"user":"ann","rooms":["team"],"join":["lobby-*"],"emit":["say","hello*"]}]`)
	on := s.hear("sio.door.on.hello.>")
	a := s.Enter("a", "/door")
	asks(a, 1, `["join","lobby-1"]`, ok)
	asks(a, 2, `["join","public-1"]`, `[{"error":"not allowed: public-1"}]`)
	asks(a, 3, `["leave","lobby-1"]`, `[{"error":"not allowed: lobby-1"}]`) // the namespace allows only public-*
	asks(a, 4, `["shout","x"]`, `[{"error":"not allowed: shout"}]`)
	a.Emit("", `["hello.there"]`)
	on.Next()
	s.Counts("denied_total", "join", 1)
	s.Counts("denied_total", "leave", 1)
	s.Counts("denied_total", "emit", 1)

	// A service changes it.
	s.change("sio.door.grant.socket."+a.ID, `[{"emit":null,"join":["public-*"],"leave":["*"],"rooms":["other"]}]`, 1)
	asks(a, 5, `["join","public-1"]`, ok)
	asks(a, 6, `["leave","lobby-1"]`, ok)
	asks(a, 7, `["leave","user:ann"]`, `[{"error":"not allowed: user:ann"}]`)
	s.change("sio.door.grant.room.team", `[{"rooms":["more"]}]`, 1)
	s.change("sio.door.grant.room.other", `[{}]`, 0)
	s.change("sio.door.grant.room.more", `[{"user":"bob"}]`, 1)
	s.change("sio.door.grant.room.user:ann", `[{"user":"bob"}]`, 0)
	s.Publish("sio.door.emit.room.user:bob", `["for bob"]`)
	a.Gets(`["for bob"]`)
	s.fails("sio.door.grant.all", `[{"join":"x"}]`, `bad grant: "join" is not an array of strings`)
	s.fails("sio.door.grant.socket."+a.ID, `[{"rooms":["user:eve"]}]`, "user_room")
	s.fails("sio.door.grant.socket."+s.ID+".AAAAAAAAAAAAAAAAAAAA", `[{}]`, "unknown socket")
}

// A relay to the sender's rooms leaves out that of its user.
func TestTheRoomOfAUserIsNoRoomOfRelays(t *testing.T) {
	t.Parallel()
	s := begin(t, granting())
	s.serve("door", `[{"user":"ann"}]`)
	a, b := s.Enter("a", "/door"), s.Enter("b", "/door")
	a.Emit("", `["say","to all: a is in no room"]`)
	for _, so := range []*socket{a, b} {
		so.Gets(`["say","to all: a is in no room"]`)
	}
	asks(a, 1, `["join","public-1"]`, ok)
	a.Emit("", `["say","to the room"]`)
	a.Gets(`["say","to the room"]`)
	s.onlyMarker(b)
}

// The edge acts on join and leave where a grant names them, also in a namespace without rooms of its own.
func TestAGrantOpensRooms(t *testing.T) {
	t.Parallel()
	s := begin(t, granting())
	s.serve("bare", `[{"join":["a"],"leave":[]}]`)
	a := s.Enter("a", "/bare")
	asks(a, 1, `["join","a"]`, ok)
	asks(a, 2, `["leave","a"]`, `[{"error":"not allowed: a"}]`)
}

// A client that goes on with what it may not is ended.
func TestWhoGoesOnWithWhatIsDenied(t *testing.T) {
	t.Parallel()
	s := begin(t, granting())
	s.serve("door", `[{"emit":[]}]`)
	a := s.Enter("a", "/door")
	for range 150 {
		a.Emit("", `["x"]`)
	}
	a.ExpectEnd()
}

// A service that answers the notice of an open namespace with a grant is never too early.
func TestAGrantRightBehindTheNotice(t *testing.T) {
	t.Parallel()
	s := begin(t, granting())
	s.Handle("sio.open.on.connect", func(m *nats.Msg) {
		id := strings.TrimPrefix(m.Reply, "sio.open.emit.socket.")
		_ = s.NC.PublishRequest("sio.open.grant.socket."+id, "_INBOX.granted", []byte(`[{"emit":["ok"]}]`))
	})
	granted := s.hear("_INBOX.granted")
	for i := range 100 {
		a := s.Enter(fmt.Sprint("a", i), "/open")
		if m := granted.Next(); m.Header.Get("Sio-Error") != "" {
			t.Fatalf("socket %d: %s", i, m.Header.Get("Sio-Error"))
		}
		asks(a, 1, `["no"]`, `[{"error":"not allowed: no"}]`)
		a.Hangup()
	}
}
