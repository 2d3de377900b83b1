package test

import (
	"fmt"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
)

// byURL is an issuer whose keys are at a server.
func byURL(s *edgetest.KeyServer) token.Issuer {
	return issuer("main", func(i *token.Issuer) { i.JWKSURL, i.Algorithms = s.URL, []string{"ES256"} })
}

func jwksRules(change ...func(*rule.Namespace)) rules {
	ns := rule.Namespace{Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:"}
	for _, c := range change {
		c(&ns)
	}
	return rules{"/chat": ns}
}

// While there were no keys yet, clients wait. They are in as soon as there are.
func TestTheKeysAreAwayAtTheStart(t *testing.T) {
	t.Parallel()
	key := edgetest.ECKey(t, "k1")
	server := edgetest.NewKeyServer(t)
	server.Leave()
	s := begin(t, jwksRules(), withTokens([]token.Issuer{byURL(server)}))
	var waiting []*guest
	for _, w := range ways {
		g := &guest{talker: w.open(s, "", nil), t: t, head: "/chat,"}
		g.connect(key.Sign(edgetest.Subject("ann", minutes, nil), nil))
		waiting = append(waiting, g)
	}
	edgetest.Eventually(t, "the edge tries again", func() bool { return server.Fetches.Load() > 1 })
	server.Set(key)
	for _, g := range waiting {
		answer, _ := g.hear()
		g.connected(answer)
	}
}

// A second CONNECT waits for the first one, and keeps its token meanwhile.
func TestASecondConnectWaitsForKeys(t *testing.T) {
	t.Parallel()
	key := edgetest.ECKey(t, "k1")
	server := edgetest.NewKeyServer(t)
	server.Leave()
	s := begin(t, jwksRules(), withTokens([]token.Issuer{byURL(server)}))
	g := &guest{talker: ways[0].open(s, "", nil), t: t, head: "/chat,"}
	g.connect(edgetest.ECKey(t, "k2").Sign(edgetest.Subject("ann", minutes, nil), nil))
	g.connect(key.Sign(edgetest.Subject("ann", minutes, nil), nil))
	edgetest.Eventually(t, "the edge tries again", func() bool { return server.Fetches.Load() > 1 })
	server.Set(key)
	answer, _ := g.hear()
	if _, code := g.refusal(answer); code != "token_key_unknown" {
		t.Fatalf("the first is answered %s", answer)
	}
	answer, _ = g.hear()
	g.connected(answer)
}

// A client that waits too long for keys is sent away, not refused: it comes back by itself.
func TestKeysThatDoNotComeInTime(t *testing.T) {
	t.Parallel()
	key := edgetest.ECKey(t, "k1")
	server := edgetest.NewKeyServer(t)
	server.Leave()
	s := begin(t, jwksRules(func(n *rule.Namespace) { n.ConnectTimeout = 200 * time.Millisecond }), withTokens([]token.Issuer{byURL(server)}))
	everyWay(s, func(s *stage, w way) {
		g := &guest{talker: w.open(s, "", nil), t: s.t, head: "/chat,"}
		g.connect(key.Sign(edgetest.Subject("ann", minutes, nil), nil))
		g.ends()
	})
}

// The last good keys stay while the server is away. A key that it never had waits.
func TestTheKeysAreAwayLater(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	key, next := edgetest.ECKey(t, "k1"), edgetest.ECKey(t, "k2")
	server := edgetest.NewKeyServer(t, key)
	s := begin(t, jwksRules(), withTokens([]token.Issuer{byURL(server)}))
	s.admit(ways[0], "/chat", key.Sign(edgetest.Subject("ann", minutes, nil), nil))
	server.Leave()
	var waiting []*guest
	for _, w := range ways {
		g := &guest{talker: w.open(s, "", nil), t: t, head: "/chat,"}
		g.connect(next.Sign(edgetest.Subject("ann", minutes, nil), nil))
		waiting = append(waiting, g)
	}
	everyWay(s, func(s *stage, w way) { s.admit(w, "/chat", key.Sign(edgetest.Subject("ann", minutes, nil), nil)) })
	server.Set(key, next)
	for _, g := range waiting {
		answer, _ := g.hear()
		g.connected(answer)
	}
}

// A thousand tokens with made-up kids neither open anything nor hold up a rotation: the set is fetched at most every
// 10 s, and the first fetch behind the rotation brings the new key.
func TestARotationAmongUnknownKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	key, next, forged := edgetest.ECKey(t, "k1"), edgetest.ECKey(t, "k2"), edgetest.ECKey(t, "")
	server := edgetest.NewKeyServer(t, key)
	s := begin(t, jwksRules(), withTokens([]token.Issuer{byURL(server)}))
	s.admit(ways[0], "/chat", key.Sign(edgetest.Subject("ann", minutes, nil), nil))
	fetched, began := server.Fetches.Load(), time.Now()
	var strangers []*guest
	for i := range 1000 {
		g := &guest{talker: ways[i%2].open(s, "", nil), t: t, head: "/chat,"} // WebSocket, JSON and msgpack
		g.connect(forged.Sign(edgetest.Subject("eve", minutes, nil), edgetest.Claims{"kid": fmt.Sprint("random-", i)}))
		strangers = append(strangers, g)
		if i == 500 {
			server.Set(next)
		}
	}
	everyWay(s, func(s *stage, w way) { s.admit(w, "/chat", next.Sign(edgetest.Subject("ann", minutes, nil), nil)) })
	if n, most := server.Fetches.Load()-fetched, int64(time.Since(began)/(10*time.Second))+2; n > most {
		t.Errorf("%d fetches in %s, want at most %d", n, time.Since(began), most)
	}
	for _, g := range strangers {
		answer, open := g.hear()
		if !open {
			t.Fatal("a stranger was sent away instead of refused")
		}
		g.refusal(answer)
	}
	// The old key has gone.
	g, answer := s.present(ways[0], "/chat", key.Sign(edgetest.Subject("ann", minutes, nil), nil))
	if answer != "" {
		g.refusal(answer)
	}
}
