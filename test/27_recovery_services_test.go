package test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// back is what a connect request or notice says of a socket that has come back.
type back struct {
	SID       string
	Edge      string
	Auth      json.RawMessage
	Recovered json.RawMessage
	Handover  *struct {
		From  string
		Rooms []string
		User  string
	}
}

func readBack(t *testing.T, m *nats.Msg) (b back) {
	t.Helper()
	var name string
	if err := json.Unmarshal(m.Data, &[]any{&name, &b}); err != nil {
		t.Fatalf("%s: %v", m.Data, err)
	}
	return b
}

// guarded are namespaces in which services decide, also again about clients that come back.
func guarded() rules {
	return rules{
		"/door": {Connect: rule.ConnectService, Recovery: rule.Recovery{For: edgetest.Patience}},
		"/ask":  {Connect: rule.ConnectService, Recovery: rule.Recovery{For: edgetest.Patience, AskAgain: true}},
	}
}

func withGuards(t *testing.T) *stage {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	return beginAt(t, server, guarded())
}

// A service that has admitted a socket gets a notice when its client comes back. It need not answer.
func TestAServiceHearsWhoComesBack(t *testing.T) {
	s := withGuards(t)
	on := s.Hear("sio.door.on.>")
	c := s.Node.Dial("ann")
	c.Send(`40/door,{"token":"x"}`)
	m := on.Next()
	if err := m.Respond([]byte(`[{"rooms":["news"],"user":"ann","data":{"n":1}}]`)); err != nil {
		t.Fatal(err)
	}
	a := connected(t, c, "/door")
	a.Hangup()
	on.Next() // its disconnect
	d := s.Node.Dial("ann")
	d.Send(`40/door,{"token":"x","pid":"` + a.pid + `"}`)
	b := connected(t, d, "/door")
	if b.id != a.id {
		t.Fatalf("came back as %s, was %s", b.id, a.id)
	}
	m = on.Next()
	notice := readBack(t, m)
	if want := `{"rooms":["news"],"user":"ann","data":{"n":1}}`; string(notice.Recovered) != want || notice.SID != a.id {
		t.Errorf("the notice is %s, want recovered %s", m.Data, want)
	}
	if string(notice.Auth) != `{"token":"x"}` {
		t.Errorf("services see the auth %s", notice.Auth)
	}
	if m.Reply != "sio.door.emit.socket."+a.id {
		t.Errorf("the reply subject is %s", m.Reply)
	}
	d.Send(`42/door,["hello"]`)
	if m := on.Next(); m.Header.Get("Sio-User") != "ann" {
		t.Errorf("the event's user is %q", m.Header.Get("Sio-User"))
	}
}

// With skip_admission: false a service decides again, and may refuse.
func TestAServiceDecidesAgain(t *testing.T) {
	s := withGuards(t)
	var answer, had atomic.Pointer[string]
	say := func(text string) { answer.Store(&text) }
	s.Handle("sio.ask.on.connect", func(m *nats.Msg) { // an edge may ask twice
		text := string(readBack(t, m).Recovered)
		had.Store(&text)
		if *answer.Load() == "banned" {
			_ = m.RespondMsg(edgetest.Message("", "", "[]", "Sio-Error: banned"))
		} else {
			_ = m.Respond([]byte(*answer.Load()))
		}
	})
	say(`[{"rooms":["news"],"user":"ann"}]`)
	c := s.Node.Dial("ann")
	c.Send(`40/ask,`)
	a := connected(t, c, "/ask")
	a.Hangup()
	say(`[{"rooms":["more"],"data":7}]`)
	d := s.Node.Dial("ann")
	d.Send(`40/ask,{"pid":"` + a.pid + `"}`)
	b := connected(t, d, "/ask")
	if b.id != a.id {
		t.Fatalf("came back as %s, was %s", b.id, a.id)
	}
	if *had.Load() != `{"rooms":["news"],"user":"ann","data":{}}` {
		t.Errorf("the request has recovered %s", *had.Load())
	}
	got := string(s.Ask("sio.ask.fetch.socket."+b.id, "[]").Data)
	for _, want := range []string{`"news"`, `"more"`, `"user":"ann"`, `"data":7`} {
		if !strings.Contains(got, want) {
			t.Errorf("it is %s, without %s", got, want)
		}
	}
	b.Hangup()
	say("banned")
	f := s.Node.Dial("ann")
	f.Send(`40/ask,{"pid":"` + a.pid + `"}`)
	f.Expect(`44/ask,{"message":"banned"}`)
}

// A service may take a socket out of a room while its client comes back, before the admission gives it its rooms.
func TestASocketLeavesWhileItComesBack(t *testing.T) {
	s := withGuards(t)
	on := s.Hear("sio.ask.on.connect")
	c := s.Node.Dial("ann")
	c.Send(`40/ask,`)
	if err := on.Next().Respond([]byte(`[{"rooms":["news","sport"],"user":"ann"}]`)); err != nil {
		t.Fatal(err)
	}
	a := connected(t, c, "/ask")
	a.Hangup()
	d := s.Node.Dial("ann")
	d.Send(`40/ask,{"pid":"` + a.pid + `"}`)
	m := on.Next()
	for verb, room := range map[string]string{"leave": "sport", "join": "vip"} {
		if answer := s.Ask("sio.ask."+verb+".socket."+a.id, `["`+room+`"]`); answer.Header.Get("Sio-Error") != "" {
			t.Fatalf("%s: %v", verb, answer.Header)
		}
	}
	d.Hangup() // what was answered is in the record
	e := s.Node.Dial("ann")
	e.Send(`40/ask,{"pid":"` + a.pid + `"}`)
	for m = on.Next(); !strings.Contains(string(readBack(t, m).Recovered), "vip"); {
		m = on.Next()
	}
	if err := m.Respond([]byte(`[{}]`)); err != nil {
		t.Fatal(err)
	}
	b := connected(t, e, "/ask")
	var got []struct{ Rooms []string }
	if err := json.Unmarshal(s.Ask("sio.ask.fetch.socket."+b.id, "[]").Data, &got); err != nil || len(got) != 2 || len(got[1].Rooms) != 2 {
		t.Fatalf("%v: %v", got, err)
	}
	if !slices.Contains(got[1].Rooms, "vip") || !slices.Contains(got[1].Rooms, "news") {
		t.Errorf("it is in %v", got[1].Rooms)
	}
}

// The instance that owned a socket is asked to take it over, from the edge that has it now.
func TestAnOwnerGetsItsSocketBack(t *testing.T) {
	s := withGuards(t)
	other := edgetest.Start(t, edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: guarded()}).Ready()
	i := startInstance(t, s.Peer.NC, "one")
	c := s.Node.Dial("ann")
	c.Send(`40/door,`)
	first := i.accepts(`[{"rooms":["news"],"user":"ann"}]`)
	a := connected(t, c, "/door")
	a.Hangup()
	i.owned.Next() // its disconnect
	d := other.Dial("ann")
	d.Send(`40/door,{"pid":"` + a.pid + `"}`)
	m := i.request()
	asked := readBack(t, m)
	if asked.SID != a.id || asked.Edge != other.ID || string(asked.Recovered) != "true" || asked.Handover == nil || asked.Handover.From != "one" {
		t.Fatalf("the request is %s", m.Data)
	}
	if number := m.Header.Get("Sio-Assignment"); number <= first.Assignment {
		t.Errorf("the assignment is %s, was %s", number, first.Assignment)
	}
	i.admits(m, `[]`)
	b := connected(t, d, "/door")
	d.Send(`42/door,["hello"]`)
	for {
		if m := i.owned.Next(); m.Subject == "sio.door.own.one.hello" {
			if m.Reply != "sio.door.emit.socket."+b.id {
				t.Errorf("the reply subject is %s", m.Reply)
			}
			break
		}
	}
	s.Publish("sio.door.emit.socket."+b.id, `["hi"]`)
	b.receives(t, "/door", `["hi"]`)
}
