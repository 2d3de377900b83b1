package test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// rewound are namespaces in which who enters a room gets its last events.
func rewound() rules {
	last := []rule.Rewind{{Room: "two*", Messages: 2, Age: time.Hour}, {Room: "*", Messages: 5, Age: time.Hour}}
	some := []rule.Rewind{{Room: "two*", Messages: 2, Age: time.Hour}, {Room: "news*", Messages: 5, Age: time.Hour}}
	return rules{
		"/chat":  {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Rewind: some},
		"/lobby": {Connect: rule.ConnectOpen, AutoJoin: []string{"hall", "two"}, Rewind: last},
		"/door":  {Connect: rule.ConnectService, Rewind: last},
		"/safe":  {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Rewind: last, Recovery: rule.Recovery{For: time.Minute}},
		"/home":  {Connect: rule.ConnectOpen, AutoJoin: []string{"hall"}, Rewind: last, Recovery: rule.Recovery{For: time.Minute}},
	}
}

func beginRewound(t *testing.T, change ...func(*edgetest.Options)) *stage {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	s := beginAt(t, server, rewound(), change...)
	edgetest.Eventually(t, "there is a log", func() bool {
		_, err := s.NC.Request("sio.chat.emit.room.nobody", []byte(`["here"]`), time.Second)
		return err == nil
	})
	return s
}

// say publishes numbered events, and waits until the log has them.
func (s *stage) say(subject string, from, to int, headers ...string) {
	s.t.Helper()
	for i := from; i <= to; i++ {
		s.Publish(subject, fmt.Sprintf(`["n",%d]`, i), headers...)
	}
	s.stored()
}

// stored waits until the log has what was published before.
func (s *stage) stored() {
	s.t.Helper()
	if m := s.Ask("sio.chat.emit.room.nobody", `["stored"]`); !strings.Contains(string(m.Data), "seq") {
		s.t.Fatalf("no PubAck: %s", m.Data)
	}
}

// gets expects numbered events.
func gets(t *testing.T, c *enginetest.Client, head string, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		c.Expect(fmt.Sprintf(`42%s["n",%d]`, head, n))
	}
}

// joins has a client join a room of /chat, and returns once it has the answer. What came before that is returned.
func joins(t *testing.T, so *socket, room string) (before []string) {
	t.Helper()
	so.Emit("7", `["join","`+room+`"]`)
	for {
		text := so.Next()
		if text == "43"+so.Head+`7[{"ok":true}]` {
			return before
		}
		before = append(before, text)
	}
}

func TestAClientJoinsAndGetsThePast(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.chat.emit.room.news", 1, 8)
	s.say("sio.chat.emit.room.news", 100, 100, "Sio-Volatile: true")
	s.say("sio.chat.emit.room.two", 1, 8)
	s.say("sio.chat.emit.room.other", 1, 8)
	ann := s.Enter("ann", "/chat")
	ann.Emit("", `["join","news"]`)
	gets(t, ann.Client, "/chat,", 4, 5, 6, 7, 8)
	ann.Emit("", `["join","two"]`)
	gets(t, ann.Client, "/chat,", 7, 8)
	joins(t, ann, "other") // has no rule
	s.say("sio.chat.emit.room.other", 9, 9)
	gets(t, ann.Client, "/chat,", 9)
	s.say("sio.chat.emit.room.news", 10, 11)
	gets(t, ann.Client, "/chat,", 10, 11)
	ann.Emit("", `["join","news"]`) // it is there already
	ann.Emit("", `["leave","news"]`)
	ann.Emit("", `["join","news"]`)
	gets(t, ann.Client, "/chat,", 6, 7, 8, 10, 11)
	s.say("sio.chat.emit.all", 12, 12)
	gets(t, ann.Client, "/chat,", 12)
}

func TestASocketBeginsInARoom(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.lobby.emit.room.hall", 1, 8)
	s.say("sio.lobby.emit.room.two", 11, 15)
	s.say("sio.door.emit.room.vip", 1, 8)
	ann := s.Enter("ann", "/lobby")
	gets(t, ann.Client, "/lobby,", 4, 5, 6, 7, 8, 14, 15)
	s.Answer("sio.door.on.connect", `[{"rooms":["vip","none"]}]`)
	bob := s.Enter("bob", "/door")
	gets(t, bob.Client, "/door,", 4, 5, 6, 7, 8)
	s.say("sio.door.emit.room.vip", 9, 9)
	gets(t, bob.Client, "/door,", 9)
}

func TestAServiceJoins(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.chat.emit.room.news", 1, 8)
	for header, want := range map[string][]int{"": {4, 5, 6, 7, 8}, "Sio-Rewind: 2": {7, 8}, "Sio-Rewind: 0": nil, "Sio-Rewind: 1000": {1, 2, 3, 4, 5, 6, 7, 8}} {
		var headers []string
		if header != "" {
			headers = []string{header}
		}
		ann := s.Enter("ann", "/chat")
		if m := s.Ask("sio.chat.join.socket."+ann.ID, `["news","free"]`, headers...); m.Header.Get("Sio-Error") != "" {
			t.Fatal(m.Header)
		}
		gets(t, ann.Client, "/chat,", want...)
		s.Publish("sio.chat.emit.room.news", `["done"]`, "Sio-Volatile: true")
		ann.Gets(`["done"]`)
	}
	ann := s.Enter("ann", "/chat")
	for _, bad := range []string{"-1", "1001", "x", "", "1.5"} {
		if m := s.Ask("sio.chat.join.socket."+ann.ID, `["news"]`, "Sio-Rewind: "+bad); m.Header.Get("Sio-Error") != "Sio-Rewind must be a number from 0 to 1000" {
			t.Errorf("%q: %v", bad, m.Header)
		}
	}
}

// Unions belong to the past of each room that they name. Who got one by another room does not get it again.
func TestThePastHasUnions(t *testing.T) {
	s := beginRewound(t)
	ann := s.Enter("ann", "/chat")
	joins(t, ann, "other")
	s.say("sio.chat.emit.all", 1, 1, "Sio-Rooms: news", "Sio-Rooms: other")
	gets(t, ann.Client, "/chat,", 1)
	s.say("sio.chat.emit.all", 2, 2, "Sio-Rooms: news", "Sio-Rooms: two")
	s.say("sio.chat.emit.all", 3, 3, "Sio-Rooms: news", "Sio-Rooms: "+ann.ID)
	gets(t, ann.Client, "/chat,", 3)
	s.say("sio.chat.emit.all", 4, 4, "Sio-Rooms: news", "Sio-Except: "+ann.ID)
	s.say("sio.chat.emit.all", 5, 5, "Sio-Rooms: news", "Sio-Volatile: true")
	s.say("sio.chat.emit.all", 6, 6, "Sio-Rooms: two")
	s.say("sio.chat.emit.all", 7, 7)
	gets(t, ann.Client, "/chat,", 7)
	s.say("sio.chat.emit.room.news", 8, 8)
	bob := s.Enter("bob", "/chat")
	bob.Emit("", `["join","news"]`)
	gets(t, bob.Client, "/chat,", 1, 2, 3, 4, 8)
	bob.Emit("", `["join","two"]`)
	gets(t, bob.Client, "/chat,", 6)
	ann.Emit("", `["leave","other"]`)
	ann.Emit("", `["join","news"]`)
	gets(t, ann.Client, "/chat,", 2, 8)
	ann.Emit("", `["join","two"]`)
	gets(t, ann.Client, "/chat,", 6)
	s.say("sio.chat.emit.all", 9, 9, "Sio-Rooms: two", "Sio-Rooms: news")
	gets(t, ann.Client, "/chat,", 9)
	gets(t, bob.Client, "/chat,", 9)
}

// A crowd enters a room while a publisher goes on. Each gets the last events, and then all, in order and once.
func TestACrowdEnters(t *testing.T) {
	s := beginRewound(t)
	const crowd, last = 200, 5
	s.say("sio.chat.emit.room.news", 1, last)
	sockets := make([]*socket, crowd)
	for i := range sockets {
		sockets[i] = s.Enter("one", "/chat")
	}
	s.Ask("sio.chat.join.all", `["other"]`)
	stop, published := make(chan struct{}), make(chan int)
	go func() { published <- s.goOn(last, stop) }()
	var all sync.WaitGroup
	got := make([][]string, crowd)
	for i, so := range sockets {
		if i%2 == 0 {
			so.Emit("", `["join","news"]`)
		} else {
			s.Publish("sio.chat.join.socket."+so.ID, `["news"]`)
		}
		all.Go(func() {
			for {
				text, ok := so.Await()
				if !ok || text == `42/chat,["end"]` {
					return
				}
				got[i] = append(got[i], text)
			}
		})
	}
	edgetest.Eventually(t, "all are in the room", func() bool {
		return strings.Count(string(s.Ask("sio.chat.fetch.room.news", "[]").Data), `"id"`) == crowd
	})
	close(stop)
	n := <-published
	s.Publish("sio.chat.emit.room.news", `["end"]`)
	all.Wait()
	for i, list := range got {
		checkCrowd(t, i, list, last, n)
	}
	reads := s.Figure("rewinds_total", "")
	t.Logf("%d events, %d reads of the log for %d sockets", n, reads, crowd)
	if reads > crowd/2 {
		t.Errorf("%d reads of the log for %d sockets", reads, crowd)
	}
}

// goOn publishes numbered events to room news, each third of them as a union with room other, until stop is closed, at
// least 300. It returns the last number.
func (s *stage) goOn(n int, stop <-chan struct{}) int {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for ; ; n++ {
		if n >= 300 {
			select {
			case <-stop:
				return n
			default:
			}
		}
		<-pace.C
		m := edgetest.Message("sio.chat.emit.room.news", "", fmt.Sprintf(`["n",%d]`, n+1))
		if n%3 == 0 {
			m = edgetest.Message("sio.chat.emit.all", "", string(m.Data), "Sio-Rooms: news", "Sio-Rooms: other")
		}
		_ = s.NC.PublishMsg(m)
	}
}

// checkCrowd checks what one of a crowd got: unions from the beginning, and all since it is in room news, of which the
// last events come first, without the unions that it had before. The numbers of unions are above last, and 1 more than a
// multiple of 3.
func checkCrowd(t *testing.T, who int, list []string, last, n int) {
	t.Helper()
	seen := map[int]bool{}
	begin, before := 0, 0
	for _, text := range list {
		var number int
		if _, err := fmt.Sscanf(text, `42/chat,["n",%d]`, &number); err != nil {
			continue
		}
		if begin == 0 && (number%3 != 1 || number <= last) {
			begin, before = number, 0 // the first of the past
		}
		if seen[number] || number <= before {
			t.Errorf("socket %d got %d behind %d, or twice: %v", who, number, before, list)
		}
		seen[number], before = true, number
	}
	if begin == 0 {
		t.Errorf("socket %d got nothing of the room", who)
	}
	for i := begin; i <= n; i++ {
		if !seen[i] {
			t.Errorf("socket %d lost %d of %d to %d", who, i, begin, n)
		}
	}
}
