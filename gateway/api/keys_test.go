package api

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

func TestKeyAndHash(t *testing.T) {
	key := NewKey()
	if key == NewKey() || len(key) != len(keyPrefix)+43 {
		t.Errorf("the key is %q", key)
	}
	// echo -n abc | sha256sum
	if got := HashKey("abc"); got != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("the hash is %s", got)
	}
	if _, err := newHolder(Key{Hash: HashKey(key)}); err != nil {
		t.Error(err)
	}
	for _, bad := range []Key{{}, {Hash: key}, {Hash: "sha256:abcd"}, {Hash: HashKey(key) + "00"}} {
		if _, err := New(nil, Options{Keys: []Key{bad}}); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	s := begin(t)
	const body = `{"namespace":"/chat","to":{"all":true},"event":["x"]}`
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic " + theKey, "Bearer x", "Bearer  " + theKey, theKey, "Bearer " + HashKey(theKey)} {
		got := s.do(http.MethodPost, "/v1/emit", "", body, "Authorization", header)
		s.isProblem(got, badKey, "send a key")
		if got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: %v", header, got.header)
		}
	}
	if got := s.do(http.MethodPost, "/v1/emit", "", body, "Authorization", "bearer "+theKey); got.status != 202 {
		t.Error(got)
	}
	s.counted("api_problems_total", "bad-key", 8)
}

// counted compares a figure of the API.
func (s *stage) counted(name, label string, want int) {
	s.t.Helper()
	for _, m := range s.API.Metrics().Metrics() {
		if m.Name == name && m.Value() == label && int(m.Read()) != want {
			s.t.Errorf("%s %s is %v, want %d", name, label, m.Read(), want)
		}
	}
}

// TestWhatKeysAllow tries what a key for some rooms may do, room by room.
func TestWhatKeysAllow(t *testing.T) {
	key := func(name string, verbs, may []string) Key {
		return Key{Name: name, Hash: HashKey(name), Namespaces: []string{"/chat", "/ten-*"}, Verbs: verbs, Rooms: []string{"order-*", "lobby"}, May: may}
	}
	s := begin(t, func(o *Options) {
		o.Keys = append(o.Keys, key("shop", verbs, nil), key("emitter", []string{"emit"}, nil), key("reader", nil, []string{mayRead, mayAll}),
			key("all", verbs, []string{mayAll}), key("sockets", verbs, []string{maySocket}), key("users", verbs, []string{mayUser}),
			Key{Name: "every", Hash: HashKey("every"), Namespaces: []string{"/chat"}, Verbs: verbs, Rooms: []string{"*"}})
	})
	ann := s.Enter("ann", "/chat")
	id := ann.ID
	with := func(to, more string) string { return `{"namespace":"/chat","to":` + to + more + `}` }
	event, rooms := `,"event":["x"]`, `,"rooms":["lobby"]`
	for _, c := range []struct {
		key, verb, body string
		allowed         bool
	}{
		{"shop", "emit", with(`{"room":"order-7"}`, event), true},
		{"shop", "emit", with(`{"rooms":["order-7","lobby"]}`, event+`,"except":["order-8"]`), true},
		{"shop", "emit", with(`{"room":"lobby2"}`, event), false},
		{"shop", "emit", with(`{"room":"Order-7"}`, event), false},
		{"shop", "emit", with(`{"room":""}`, event), false},
		{"shop", "emit", with(`{"rooms":["order-7","vip"]}`, event), false},
		{"shop", "emit", with(`{"room":"order-7"}`, event+`,"except":["vip"]`), false},
		{"shop", "emit", with(`{"room":"order-7"}`, event+fmt.Sprintf(`,"except":[%q]`, id)), false},
		{"shop", "emit", with(`{"all":true}`, event), false},
		{"shop", "emit", with(fmt.Sprintf(`{"socket":%q}`, id), event), false},
		{"shop", "emit", with(`{"user":"ann"}`, event), false},
		{"shop", "emit", strings.Replace(with(`{"room":"lobby"}`, event), "/chat", "/other", 1), false},
		{"shop", "emit", strings.Replace(with(`{"room":"lobby"}`, event), "/chat", "/ten-4/x", 1), true},
		{"shop", "join", with(`{"room":"lobby"}`, `,"rooms":["order-8"]`), true},
		{"shop", "join", with(`{"room":"lobby"}`, `,"rooms":["order-8","vip"]`), false},
		{"shop", "leave", with(`{"room":"lobby"}`, `,"rooms":["vip"]`), false},
		{"shop", "join", with(`{"room":"lobby"}`, `,"rooms":["user:eve"]`), false},
		{"shop", "broadcast", with(`{"room":"lobby"}`, event+fmt.Sprintf(`,"sender":%q`, id)), true},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"rooms":["lobby"]}`), false}, // would take other rooms away
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"rooms":[]}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"rooms":null}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"join":["order-1*"]}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"leave":[]}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"user":"eve"}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"user":null}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"join":null}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"leave":null}`), false},
		{"shop", "grant", with(`{"room":"lobby"}`, `,"grant":{"emit":null,"expires":null}`), true},
		{"every", "grant", with(`{"room":"lobby"}`, `,"grant":{"join":null,"leave":null,"rooms":null}`), true},
		{"every", "grant", with(`{"room":"lobby"}`, `,"grant":{"join":["order-1*"],"rooms":["lobby"],"leave":["*"]}`), true},
		{"every", "grant", with(`{"room":"lobby"}`, `,"grant":{"join":["user:*"]}`), false},
		{"every", "grant", with(`{"room":"lobby"}`, `,"grant":{"rooms":["user:eve"]}`), false},
		{"emitter", "emit", with(`{"room":"lobby"}`, event), true},
		{"emitter", "ask", with(`{"room":"lobby"}`, event), false},
		{"emitter", "join", with(`{"room":"lobby"}`, rooms), false},
		{"emitter", "disconnect", with(`{"room":"lobby"}`, ""), false},
		{"emitter", "batch", `{"commands":[]}`, true}, // and then it is refused for having none
		{"reader", "emit", with(`{"room":"lobby"}`, event), false},
		{"all", "emit", with(`{"all":true}`, event), true},
		{"all", "emit", with(`{"user":"ann"}`, event), false},
		{"sockets", "emit", with(fmt.Sprintf(`{"socket":%q}`, id), event), true},
		{"sockets", "emit", with(`{"room":"lobby"}`, event+fmt.Sprintf(`,"except":[%q]`, id)), true},
		{"shop", "disconnect", with(`{"room":"lobby"}`, `,"session":true`), false},
		{"shop", "disconnect", with(`{"room":"lobby"}`, `,"session":false`), true},
		{"users", "emit", with(`{"user":"ann"}`, event), true},
		{"users", "emit", with(`{"room":"user:ann"}`, event), true},
		{"users", "grant", with(`{"room":"lobby"}`, `,"grant":{"user":"eve"}`), true},
	} {
		got := s.do(http.MethodPost, "/v1/"+c.verb, c.key, c.body)
		if c.allowed != (got.status != 403) {
			t.Errorf("%s %s %s: %d %s", c.key, c.verb, c.body, got.status, got.body)
		}
	}
	// A pattern matches no room of a user, and reads show no more than the key may name.
	s.isProblem(s.do(http.MethodPost, "/v1/emit", "shop", with(`{"room":"user:ann"}`, event)), notAllowed, "user:ann")
	s.isProblem(s.do(http.MethodGet, "/v1/rooms?namespace=/chat&to=all", "all", ""), notAllowed, "read")
	s.isProblem(s.do(http.MethodGet, "/v1/rooms?namespace=/chat&to=room:vip", "reader", ""), notAllowed, "vip")
	s.isProblem(s.do(http.MethodGet, "/v1/rooms?namespace=/other&to=all", "reader", ""), notAllowed, "/other")
	s.isProblem(s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=socket:"+id, "reader", ""), notAllowed, "socket")
	s.in(ann, "vip", "lobby", "order-1")
	if got := s.do(http.MethodGet, "/v1/rooms?namespace=/chat&to=all", "reader", ""); got.body != `{"rooms":[{"room":"lobby","sockets":1},{"room":"order-1","sockets":1}]}` {
		t.Error(got.body)
	}
	if got := s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=all", "reader", ""); !strings.Contains(got.body, `"rooms":["lobby","order-1"]`) {
		t.Error(got.body)
	}
}

// No key reaches the pages of the Admin UI, whatever its patterns match, and whatever stands around the name.
func TestNoKeyReachesTheAdminUI(t *testing.T) {
	s := begin(t, func(o *Options) {
		for _, pattern := range []string{"/*", "*", "/admi*", "/admin"} {
			k := everything()
			k.Name, k.Hash, k.Namespaces = pattern, HashKey(pattern), []string{pattern}
			o.Keys = append(o.Keys, k)
		}
	})
	for _, key := range []string{"/*", "*", "/admi*", "/admin"} {
		for _, verb := range verbs {
			s.isProblem(s.do(http.MethodPost, "/v1/"+verb, key, `{"namespace":"/admin","to":{"all":true}}`), notAllowed, "Admin UI")
		}
		for _, read := range []string{"sockets", "rooms"} {
			s.isProblem(s.do(http.MethodGet, "/v1/"+read+"?namespace=/admin&to=all", key, ""), notAllowed, "Admin UI")
		}
		got := s.do(http.MethodPost, "/v1/batch", key, `{"commands":[{"verb":"emit","namespace":"/admin","to":{"all":true},"event":["x"]}]}`)
		if !strings.Contains(got.body, `"status":403`) {
			t.Errorf("a batch: %s", got.body)
		}
	}
}

func TestRateOfAKey(t *testing.T) {
	s := begin(t, func(o *Options) {
		o.RequestsPerSecond = 0.01
		o.Keys = append(o.Keys, Key{Name: "other", Hash: HashKey("other"), Namespaces: []string{"*"}, Verbs: verbs, May: []string{mayAll, mayRead}})
	})
	const body = `{"namespace":"/chat","to":{"all":true},"event":["x"]}`
	s.answers("emit", body, 202, "{}")
	got := s.post("emit", body)
	if s.isProblem(got, tooFast, "0.01"); got.header.Get("Retry-After") == "" {
		t.Error("it has no Retry-After")
	}
	s.isProblem(s.do(http.MethodGet, "/v1/rooms?namespace=/chat&to=all", theKey, ""), tooFast, "")
	if got := s.do(http.MethodPost, "/v1/emit", "other", body); got.status != 202 {
		t.Error(got)
	}
}

// A batch that is none counts, too: reading it is the work.
func TestABadBatchCounts(t *testing.T) {
	for _, bad := range []string{"{", `{"commands":[]}`, `{"commands":7}`} {
		s := begin(t, func(o *Options) { o.RequestsPerSecond = 0.01 })
		s.isProblem(s.post("batch", bad), badRequest, "")
		s.isProblem(s.post("batch", bad), tooFast, "0.01")
	}
}

func TestABatchCountsItsCommands(t *testing.T) {
	h, now := &holder{}, time.Now()
	for i, c := range []struct {
		after time.Duration
		n     int
		wait  time.Duration
	}{
		{0, 1, 0}, {0, 1000, 0}, // may exceed the rate once
		{0, 1, 9020 * time.Millisecond}, {5 * time.Second, 1, 4020 * time.Millisecond}, {5 * time.Second, 1, 0},
		{time.Hour, 100, 0}, {0, 1, 10 * time.Millisecond},
	} {
		now = now.Add(c.after)
		wait := h.take(1, 1, 100, now)
		if wait == 0 {
			wait = h.take(c.n-1, 0, 100, now)
		}
		if (wait - c.wait).Abs() > time.Millisecond {
			t.Errorf("step %d: %s, want %s", i, wait, c.wait)
		}
	}
}

// Of two batches that have begun, one alone may exceed the rate.
func TestTwoBatchesAtOnce(t *testing.T) {
	h, now := &holder{}, time.Now()
	for i, c := range []struct {
		n, least int
		isLate   bool
	}{{1, 1, false}, {1, 1, false}, {999, 0, false}, {999, 0, true}, {1, 1, true}} {
		if wait := h.take(c.n, c.least, 100, now); (wait > 0) != c.isLate {
			t.Errorf("step %d: %s", i, wait)
		}
	}
}

// TestWhatIsUnderWay fills what one key, and all bodies together, may have under way.
func TestWhatIsUnderWay(t *testing.T) {
	s := begin(t)
	const body = `{"namespace":"/chat","to":{"all":true},"event":["x"]}`
	s.now.Load().holders[0].underWay.Store(mostUnderWay)
	if got := s.post("emit", body); got.header.Get("Retry-After") != "1" {
		t.Errorf("%v", got.header)
	} else {
		s.isProblem(got, tooFast, "under way")
	}
	s.now.Load().holders[0].underWay.Store(0)
	for _, count := range []struct {
		of   *atomic.Int64
		most int64
	}{{&s.bodies, mostBodies}, {&s.now.Load().holders[0].bodies, mostOfKey}} {
		count.of.Store(count.most)
		s.isProblem(s.post("emit", body), busy, "bodies")
		count.of.Store(0)
	}
	s.answers("emit", body, 202, "{}")
	if n, m := s.now.Load().holders[0].underWay.Load(), s.bodies.Load(); n != 0 || m != 0 {
		t.Errorf("%d requests and %d bytes are still under way", n, m)
	}
}

// Bodies count what has come of them, not what they may have: few bytes in many bodies, with a large Content-Length or with
// none, leave room for others.
func TestBodiesCountWhatHasCome(t *testing.T) {
	s := begin(t)
	const each, large = 400, 900_000
	var open []net.Conn
	for i := range each {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		size := fmt.Sprintf("Content-Length: %d\r\n\r\n{", large)
		if i%2 == 0 {
			size = "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
		}
		_, _ = fmt.Fprintf(c, "POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s", theKey, size)
	}
	edgetest.Eventually(t, "all bodies have begun", func() bool { return s.bodies.Load() == each*leastBody })
	s.answers("emit", `{"namespace":"/chat","to":{"all":true},"event":["e","`+strings.Repeat("x", large)+`"]}`, 202, "{}")
	for _, c := range open {
		_ = c.Close()
	}
	edgetest.Eventually(t, "nothing is under way", func() bool { return s.bodies.Load() == 0 && s.now.Load().holders[0].underWay.Load() == 0 })
}
