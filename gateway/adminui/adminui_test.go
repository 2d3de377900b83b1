package adminui_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/gateway/adminui"
	"partyline/internal/edgetest"
	"partyline/wire/msg"
)

var (
	byPassword = `{"username":"ann","password":"` + password + `"}`
	inDev      = adminui.Options{Loopback: true}
)

func bySession(session string) string { return `{"sessionId":"` + session + `"}` }

// A page shows the sockets, rooms and servers of the whole cluster, and what becomes of them.
func TestWholeCluster(t *testing.T) {
	s := begin(t, 3)
	s.start(inDev)
	ann, bob := s.edges[1].Enter("ann", "/chat"), s.edges[2].Enter("bob", "/chat")
	p := s.open(0, "")
	p.shows("/chat", ann.ID, bob.ID)
	carl := s.edges[1].Enter("carl", "/news")
	p.shows("/news", carl.ID)
	shown := p.sockets["/chat "+ann.ID]
	if shown.Transport != "websocket" || len(shown.ClientID) != 12 || string(shown.Data) != "{}" || shown.Handshake["address"] != "127.0.0.1" ||
		shown.Handshake["issued"].(float64) < 1 || shown.Handshake["query"].(map[string]any)["EIO"] != "4" {
		t.Errorf("ann is shown as %+v", shown)
	}
	ann.Emit("1", `["join","a"]`)
	ann.Acked("1", `[{"ok":true}]`)
	p.until("ann is in the room", func() bool { return slices.Equal(shown.Rooms, []string{"a"}) })
	ann.Emit("2", `["leave","a"]`)
	ann.Acked("2", `[{"ok":true}]`)
	p.until("ann has left the room", func() bool { return len(shown.Rooms) == 0 })
	peer := edgetest.NewPeer(t, s.nats.ClientURL())
	peer.Ask("sio.chat.data.socket."+ann.ID, `[{"plan":"pro"}]`)
	p.until("ann has data", func() bool { return string(shown.Data) == `{"plan":"pro"}` })

	p.until("each server has its sockets", func() bool {
		return p.socketsOf(s.edges[1].ID, "/chat") == 1 && p.socketsOf(s.edges[1].ID, "/news") == 1 && p.socketsOf(s.edges[2].ID, "/chat") == 1
	})
	if stats := p.servers[s.edges[1].ID]; stats["clientsCount"].(float64) != 2 || stats["pollingClientsCount"].(float64) != 0 || stats["uptime"].(float64) <= 0 {
		t.Errorf("the second server is shown as %v", stats)
	}
	carl.Send("41/news,")
	p.shows("/news")
	bob.Emit("", `["nothing",1]`)
	p.until("there was traffic", func() bool { return p.counts["bytesIn"] > 0 && p.counts["bytesOut"] > 0 })

	s.edges[2].Stop()
	p.shows("/chat", ann.ID)
	p.until("its server has no clients", func() bool {
		return p.servers[s.edges[2].ID]["clientsCount"].(float64) == 0 && p.socketsOf(s.edges[2].ID, "/chat") == 0
	})
	if !slices.Contains(p.log, "socket_disconnected") {
		t.Errorf("the page got %v", p.log)
	}
}

// What opens something is not shown.
func TestHandshakesAreShownWithoutSecrets(t *testing.T) {
	s := begin(t, 1)
	s.start(inDev)
	for header, auth := range map[string]string{"Cookie": "sid=hidden", "Authorization": "Bearer hidden", "Proxy-Authorization": "hidden"} {
		c := s.dial("ann", http.Header{header: {auth}, "X-Shown": {"shown"}})
		c.Connect("/chat", `{"token":"hidden"}`)
	}
	p := s.open(0, "")
	p.until("all are there", func() bool { return len(p.sockets) >= 3 })
	text, err := json.Marshal(p.sockets)
	if err != nil || strings.Contains(string(text), "hidden") || !strings.Contains(string(text), "x-shown") {
		t.Errorf("shown is %s, %v", text, err)
	}
}

// Commands do on all edges what they do in Socket.IO.
func TestCommands(t *testing.T) {
	s := begin(t, 2)
	ui := s.start(inDev)
	ann, bob := s.edges[0].Enter("ann", "/chat"), s.edges[1].Enter("bob", "/chat")
	p := s.open(0, "")
	p.shows("/chat", ann.ID, bob.ID)
	for _, feature := range []string{"EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT", "AGGREGATED_EVENTS", "ALL_EVENTS"} {
		if !slices.Contains(p.features, feature) {
			t.Errorf("the features are %v", p.features)
		}
	}
	rooms := func(id string) []string { return p.sockets["/chat "+id].Rooms }
	p.emit(fmt.Sprintf(`["join","/chat","vip",%q]`, bob.ID))
	p.until("bob is in the room", func() bool { return slices.Equal(rooms(bob.ID), []string{"vip"}) })
	p.emit(`["emit","/chat","vip","hello",{"n":1}]`)
	bob.Gets(`["hello",{"n":1}]`)
	p.emit(`["join","/chat","all"]`)
	p.until("both are in the room", func() bool { return len(rooms(bob.ID)) == 2 && len(rooms(ann.ID)) == 1 })
	p.emit(`["emit","/chat",null,"hi"]`)
	ann.Gets(`["hi"]`)
	bob.Gets(`["hi"]`)
	p.emit(`["leave","/chat","all","vip"]`)
	p.until("the members of vip have left", func() bool { return len(rooms(bob.ID)) == 1 && len(rooms(ann.ID)) == 1 })
	p.emit(fmt.Sprintf(`["_disconnect","/chat",false,%q]`, bob.ID))
	bob.Expect("41/chat,")
	p.shows("/chat", ann.ID)
	p.emit(`["_disconnect","/chat",true]`)
	ann.ExpectEnd()
	p.shows("/chat")

	for i, wrong := range []string{`["join","chat\u0000","a"]`, `["emit","/*","","x"]`, `["join","/chat",""]`, `["emit","/chat","","connect"]`} {
		p.emit(wrong)
		if i != 2 { // a room may have the empty name
			edgetest.Eventually(t, "a wrong command is counted", func() bool { return ui.figure("admin_commands_failed_total", "") > 0 })
		}
	}
	p.emit(`["_disconnect","/chat",false,"abcdefgh.aaaaaaaaaaaaaaaaaaaa"]`) // that no socket has
	edgetest.Eventually(t, "all were counted", func() bool { return ui.figure("admin_commands_total", "") == 12 })
}

// A page that may only look cannot change anything, whatever it sends.
func TestReadonly(t *testing.T) {
	s := begin(t, 1)
	s.start(adminui.Options{Loopback: true, Readonly: true})
	ann := s.edges[0].Enter("ann", "/chat")
	p := s.open(0, "")
	p.shows("/chat", ann.ID)
	if !slices.Equal(p.features, []string{"AGGREGATED_EVENTS", "ALL_EVENTS"}) {
		t.Errorf("the features are %v", p.features)
	}
	p.emit(`["_disconnect","/chat",true]`)
	s.edges[0].Counts("denied_total", "emit", 1)
	ann.Emit("1", `["join","a"]`)
	ann.Acked("1", `[{"ok":true}]`)
}

// From 10,000 sockets on pages get figures alone, and nothing is asked for.
func TestTooManySockets(t *testing.T) {
	s := begin(t, 1)
	s.start(inDev)
	ann := s.edges[0].Enter("ann", "/chat")
	p := s.open(0, "")
	p.shows("/chat", ann.ID)
	large := "large000"
	peer := edgetest.NewPeer(t, s.nats.ClientURL())
	announce := func(word string, sockets int) {
		body := string(msg.EdgeAnnouncement{Edge: large, At: time.Now().UnixMilli(), Sockets: sockets, Counts: &msg.EdgeCounts{Clients: sockets}}.Body())
		peer.Publish("sio.$edge."+large+"."+word, body, "Sio-Signature: "+msg.Sign("5ecret", large+"."+word, body))
	}
	p.until("there are too many sockets", func() bool {
		announce("beat", 10_000)
		return slices.Equal(p.features[len(p.features)-1:], []string{"MDISCONNECT"}) && len(p.sockets) == 0
	})
	p.until("the servers are shown", func() bool {
		announce("beat", 10_000)
		return p.servers[large]["clientsCount"] == 10_000.0
	})
	announce("bye", 0)
	p.shows("/chat", ann.ID)
}

// What is more than may wait for a client is sent bit by bit.
func TestMuchToShow(t *testing.T) {
	s := begin(t, 1, func(o *edgetest.Options) { o.QueueBytes = 1 << 20 })
	s.start(inDev)
	peer := edgetest.NewPeer(t, s.nats.ClientURL())
	var ids []string
	for range 30 {
		so := s.edges[0].Enter("much", "/much")
		peer.Ask("sio.much.data.socket."+so.ID, `["`+strings.Repeat("x", 65_000)+`"]`)
		ids = append(ids, so.ID)
	}
	p := s.open(0, "")
	p.shows("/much", ids...)
	if n := len(p.log); n < 20 {
		t.Errorf("the first list had all but %d sockets", n)
	}
}

// Another instance goes on where one has left.
func TestAnotherInstanceTakesPagesOver(t *testing.T) {
	s := begin(t, 1)
	first := s.start(inDev)
	p := s.open(0, "")
	ann := s.edges[0].Enter("ann", "/chat")
	p.shows("/chat", ann.ID)
	second := s.start(inDev)
	first.stop()
	if first.figure("admin_pages", "") != 0 {
		t.Error("the first instance still has the page")
	}
	bob := s.edges[0].Enter("bob", "/chat")
	p.shows("/chat", ann.ID, bob.ID)
	if second.figure("admin_pages", "") != 1 {
		t.Error("the second instance has no page")
	}
	p.Hangup()
	edgetest.Eventually(t, "the page is gone", func() bool { return second.figure("admin_pages", "") == 0 })
}
