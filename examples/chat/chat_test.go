package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

func TestAConversation(t *testing.T) {
	s := begin(t)
	s.instance("one")
	ann, bob := s.enter("Ann", ""), s.enter("Bob", "")
	if people := ann.joins("lobby"); !slices.Equal(people, []string{"Ann"}) {
		t.Fatalf("Ann finds %v", people)
	}
	ann.says("lobby", "hello?")
	ann.hearsText("Ann", "hello?")
	if people := bob.joins("lobby"); !slices.Equal(people, []string{"Ann", "Bob"}) {
		t.Fatalf("Bob finds %v", people)
	}
	bob.hearsText("Ann", "hello?")
	ann.hearsOf("joined", "lobby", "Bob")
	bob.Send("42" + head + `["typing","lobby"]`)
	ann.hearsOf("typing", "lobby", "Bob")
	bob.says("lobby", "<b>hello</b> 가")
	ann.hearsText("Bob", "<b>hello</b> 가")
	bob.hearsText("Bob", "<b>hello</b> 가")
	ann.is(ann.asks("who", "lobby"), `{"people":["Ann","Bob"]}`)
	ann.joins("Café 9")
	ann.is(ann.asks("rooms"), `{"rooms":{"Café 9":1,"lobby":2}}`)
	bob.is(bob.asks("leave", "lobby"), `{"room":"lobby"}`)
	ann.hearsOf("left", "lobby", "Bob")
	bob.is(bob.asks("message", "lobby", "am I in?"), `{"error":"you are not in this room"}`)
	bob.is(bob.asks("leave", "lobby"), `{"error":"you are not in this room"}`)
	bob.is(bob.asks("join", linesPrefix+"lobby"), `{"error":"a room's name has 1 to 24 letters, digits, signs or spaces inside"}`)
	bob.joins("lobby")
	bob.Hangup()
	ann.hearsOf("gone", "Bob")
	ann.is(ann.asks("who", "lobby"), `{"people":["Ann"]}`)
}

func TestNicknamesAreUnique(t *testing.T) {
	s := begin(t)
	s.instance("one")
	s.instance("two")
	ann, bob := s.enter("Ann", "a"), s.enter("Bob", "b")
	for auth, want := range map[string]string{
		`{"name":"aNN","key":"x"}`: `{"message":"somebody else has this name","data":{"code":"taken"}}`,
		`{"name":"Ann"}`:           `{"message":"somebody else has this name","data":{"code":"taken"}}`,
		`{"name":" Ann"}`:          `{"message":"a name has 1 to 24 letters, digits, signs or spaces inside","data":{"code":"bad name"}}`,
		`{"name":"a\nb"}`:          `{"message":"a name has 1 to 24 letters, digits, signs or spaces inside","data":{"code":"bad name"}}`,
		`{}`:                       `{"message":"a name has 1 to 24 letters, digits, signs or spaces inside","data":{"code":"bad name"}}`,
		`{"name":{}}`:              `{"message":"a name has 1 to 24 letters, digits, signs or spaces inside","data":{"code":"bad name"}}`,
	} {
		if got := s.refused(auth); got != want {
			t.Errorf("%s: %s, want %s", auth, got, want)
		}
	}
	ann.joins("lobby")
	bob.joins("lobby")
	bob.is(bob.asks("nickname", "ann"), `{"error":"somebody else has this name"}`)
	bob.is(bob.asks("nickname", ""), `{"error":"a name has 1 to 24 letters, digits, signs or spaces inside"}`)
	bob.is(bob.asks("nickname", "Robert"), `{"name":"Robert"}`)
	ann.hearsOf("renamed", "Bob", "Robert")
	bob.says("lobby", "it is me")
	ann.hearsText("Robert", "it is me")
	s.enter("Bob", "") // the name is free again
	bob.is(bob.asks("nickname", "ROBERT"), `{"name":"ROBERT"}`)
	ann.is(ann.asks("who", "lobby"), `{"people":["Ann","ROBERT"]}`)
}

// A person who lost the connection, or reloads the page, gets the same name at once, even if the old socket still
// exists.
func TestTheSamePersonComesBack(t *testing.T) {
	s := begin(t)
	s.instance("one")
	s.instance("two")
	bob := s.enter("Bob", "")
	bob.joins("lobby")
	before := s.enter("Ann", "secret")
	before.joins("lobby")
	after := s.enter("Ann", "secret")
	before.hearsDisconnect()
	after.joins("lobby")
	after.says("lobby", "here I am")
	bob.hearsText("Ann", "here I am")
	bob.is(bob.asks("who", "lobby"), `{"people":["Ann","Bob"]}`)
	for _, event := range bob.waiting {
		if strings.Contains(event, "gone") {
			t.Errorf("Bob received %s", event)
		}
	}
	after.Hangup()
	bob.hearsOf("gone", "Ann")
	s.enter("Ann", "another person")
}

func (g *guest) hearsDisconnect() {
	g.t.Helper()
	for g.Next() != "41"+head {
	}
}

// Names of an instance or an edge that died must become free.
func TestANameWhoseSocketHasGoneIsFree(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t)
	shared := s.store()
	gone := owner{Name: "Ann", Socket: s.ID + ".AAAAAAAAAAAAAAAAAAA1"}
	alive := func(socket string) bool { return socket != gone.Socket }
	if _, err := shared.claim(t.Context(), gone, alive); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.claim(t.Context(), owner{Name: "ann", Socket: "other"}, alive); err != errTaken {
		t.Fatalf("a name that was claimed just now is given away: %v", err)
	}
	edgetest.Eventually(t, "the name is free", func() bool {
		_, err := shared.claim(t.Context(), owner{Name: "ann", Socket: "other"}, alive)
		return err == nil
	})
	if released, err := shared.release(t.Context(), "Ann", gone.Socket); released || err != nil {
		t.Errorf("an instance that no longer has the name releases it: %v %v", released, err)
	}
	if released, err := shared.release(t.Context(), "Ann", "other"); !released || err != nil {
		t.Errorf("released: %v %v", released, err)
	}
	if _, here, err := shared.find(t.Context(), "ann"); here || err != nil {
		t.Errorf("found after its release: %v", err)
	}
}

func TestOneOfManyGetsAName(t *testing.T) {
	s := begin(t)
	shared := s.store()
	var claims sync.WaitGroup
	won := make(chan string, 20)
	for i := range cap(won) {
		claims.Go(func() {
			me := fmt.Sprint("socket ", i)
			if _, err := shared.claim(t.Context(), owner{Name: "Ann", Socket: me}, func(string) bool { return true }); err == nil {
				won <- me
			} else if err != errTaken {
				t.Errorf("%s: %v", me, err)
			}
		})
	}
	claims.Wait()
	if o, here, err := shared.find(t.Context(), "ANN"); len(won) != 1 || err != nil || !here || o.Socket != <-won {
		t.Errorf("%d won, and %+v has it: %v", len(won), o, err)
	}
}

// Who enters a room gets its last lines, each once, whoever came and went meanwhile.
func TestTheLastLinesOfARoom(t *testing.T) {
	s := begin(t)
	stop := s.instance("one")
	ann := s.enter("Ann", "")
	ann.joins("a")
	ann.joins("b")
	const longest = 50
	for i := range longest + 10 {
		ann.says("a", fmt.Sprint(i))
		if i%10 == 0 {
			visitor := s.enter("Visitor", "")
			visitor.joins("a")
			visitor.is(visitor.asks("leave", "a"), `{"room":"a"}`)
			visitor.Hangup()
			ann.hearsOf("left", "a", "Visitor")
		}
	}
	ann.says("b", "alone")
	stop()
	s.instance("two")
	bob, cleo := s.enter("Bob", ""), s.enter("Cleo", "")
	bob.joins("a")
	cleo.joins("b")
	for i := 10; i < longest+10; i++ {
		bob.hearsText("Ann", fmt.Sprint(i))
	}
	cleo.hearsText("Ann", "alone")
	ann.says("a", "and on")
	bob.hearsText("Ann", "and on")
	for _, frame := range bob.waiting {
		t.Errorf("Bob received %s", frame)
	}
}

func TestDirectMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t)
	other := edgeOf(t, s.url)
	s.instance("one")
	s.instance("two")
	ann, bob := s.enter("Ann", ""), enter(t, other, "Bob", "")
	ann.acks++
	ann.Send(fmt.Sprintf(`42%s%d["direct","bob","between us"]`, head, ann.acks))
	frame := bob.Next()
	id, body, _ := strings.Cut(strings.TrimPrefix(frame, "42"+head), "[")
	if !strings.Contains(body, `"from":"Ann","text":"between us"`) {
		t.Fatalf("Bob got %s", frame)
	}
	bob.Send("43" + head + id + `["seen"]`)
	if answer := ann.Next(); !strings.HasPrefix(answer, fmt.Sprintf(`43%s%d[{"at":`, head, ann.acks)) {
		t.Fatalf("Ann got %s", answer)
	}
	ann.is(ann.asks("direct", "Cleo", "hello?"), `{"error":"nobody here is called Cleo"}`)
	ann.is(ann.asks("direct", "Bob", " "), `{"error":"a message has 1 to 2000 characters"}`)
	ann.is(ann.asks("direct", "Bob", "are you there?"), `{"error":"it did not reach Bob"}`) // he does not ack
}

// Two instances at two edges, and a third that starts: each of the first two leaves while all clients talk. No client
// is disconnected, and every line arrives once and in the order of its author.
func TestADeployWithoutLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t)
	nodes := []*edgetest.Node{s.Node, edgeOf(t, s.url)}
	stops := []func(){s.instance("one"), s.instance("two")}
	const people, lines = 6, 60
	var guests []*guest
	for i := range people {
		g := enter(t, nodes[i%2], fmt.Sprint("guest ", i), "")
		g.joins("lobby")
		guests = append(guests, g)
	}
	half := make(chan struct{}, people)
	var talking sync.WaitGroup
	for _, g := range guests {
		talking.Go(func() {
			for i := range lines {
				g.acks++
				g.Send(fmt.Sprintf(`42%s%d["message","lobby","%s %d"]`, head, g.acks, g.name, i))
				if i == lines/3 {
					half <- struct{}{}
				}
			}
		})
	}
	<-half
	stops[0]()
	s.instance("three")
	stops[1]()
	talking.Wait()
	for _, g := range guests {
		next := map[string]int{}
		acked := 0
		for acked < lines || total(next) < people*lines {
			frame := g.Next()
			var author string
			var i int
			switch {
			case strings.HasPrefix(frame, "43"+head):
				acked++
				if !strings.Contains(frame, `{"id":`) {
					t.Fatalf("%s: %s", g.name, frame)
				}
			case strings.HasPrefix(frame, "42"+head+`["message"`):
				_, text, _ := strings.Cut(frame, `"text":"`)
				text, _, _ = strings.Cut(text, `"`)
				author = text[:len("guest 0")]
				if _, err := fmt.Sscan(text[len(author):], &i); err != nil || next[author] != i {
					t.Fatalf("%s hears %q of %s, want line %d", g.name, text, author, next[author])
				}
				next[author]++
			}
		}
	}
}

func total(counts map[string]int) (sum int) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

func TestThePage(t *testing.T) {
	page := newPage("http://edge.example:3000")
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	index := get("/")
	policy := index.Header().Get("Content-Security-Policy")
	if !strings.Contains(index.Body.String(), `<script src="http://edge.example:3000/socket.io/socket.io.js"`) ||
		!strings.Contains(policy, "script-src 'self' http://edge.example:3000;") ||
		!strings.Contains(policy, "ws://edge.example:3000") {
		t.Errorf("the page does not find the edge: %s", policy)
	}
	for path, kind := range map[string]string{"/chat.js": "text/javascript", "/style.css": "text/css",
		"/icon.svg": "image/svg+xml"} {
		if w := get(path); w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header())
		}
	}
	for _, path := range []string{"/index.html", "/../main.go", "/nothing", "/page/chat.js"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	newPage("").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if !strings.Contains(w.Body.String(), `<script src="/socket.io/socket.io.js"`) {
		t.Error("on one host with the edges, the page does not find them")
	}
}

func TestWithoutJetStreamItSaysSo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	err := run(ctx, settings{NATS: natsdtest.Start(t).ClientURL()}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "needs JetStream") || ctx.Err() != nil {
		t.Errorf("it says %v", err)
	}
}

// The README lists the permissions.
func TestPermissions(t *testing.T) {
	server := natsdtest.Start(t, fmt.Sprintf(`
		jetstream { store_dir: %q }
		authorization { users: [
			{user: edge, password: edge}
			{user: chat, password: chat, permissions: {
				publish: [
					"sio.chat_room.emit.>", "sio.chat_room.broadcast.>", "sio.chat_room.ack.>", "sio.chat_room.ask.>", "sio.chat_room.join.>"
					"sio.chat_room.leave.>", "sio.chat_room.disconnect.>", "sio.chat_room.fetch.>", "sio.chat_room.data.>", "sio.chat_room.rooms.>"
					"sio.chat_room.service.>", "sio.$svc.chat.>", "sio.$edge.*.pong.*"
					"$JS.API.>", "$KV.chat_names.>"
				]
				subscribe: ["sio.chat_room.on.>", "sio.chat_room.own.>", "sio.chat_room.service.>", "sio.$edge.*.*", "sio.$svc.chat.>", "_INBOX.>"]
			}}
		] }`, t.TempDir()))
	as := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"@", 1)
	}
	s := &stage{edgeOf(t, as("edge")), t, as("chat")}
	s.instance("one")
	ann, bob := s.enter("Ann", ""), s.enter("Bob", "")
	ann.joins("lobby")
	ann.says("lobby", "hello")
	bob.joins("lobby")
	bob.hearsText("Ann", "hello")
	bob.is(bob.asks("nickname", "Rob"), `{"name":"Rob"}`)
	ann.hearsOf("renamed", "Bob", "Rob")
	bob.Hangup()
	ann.hearsOf("gone", "Rob")
	if names, err := s.store().names.Keys(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("names that are taken: %v %v", names, err)
	}
}
