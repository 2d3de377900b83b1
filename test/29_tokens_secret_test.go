package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/config"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/token"
)

// tape records everything that NATS carries.
type tape struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *stage) record() *tape {
	s.t.Helper()
	r := &tape{}
	s.Handle(">", func(m *nats.Msg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		fmt.Fprintf(&r.text, "%s %s %v %s\n", m.Subject, m.Reply, m.Header, m.Data)
	})
	return r
}

// lines returns the recorded messages that contain a text.
func (r *tape) lines(text string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// secretRules are a namespace of each kind. Sockets of two kinds can come back.
func secretRules() rules {
	back := rule.Recovery{For: edgetest.Patience}
	return rules{
		"/chat":  {Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:", Recovery: back, Rooms: []string{"*"}},
		"/door":  {Connect: rule.ConnectService, Recovery: back},
		"/lobby": {Connect: rule.ConnectOpen},
	}
}

// vault has tokens, and what must not carry them.
type vault struct {
	*stage
	key    *edgetest.TokenKey
	tape   *tape
	store  string // JetStream's folder
	edges  []*edgetest.Node
	tokens []string
	seen   strings.Builder // what clients receive
}

// beginSecret starts a number of edges that look for tokens everywhere.
func beginSecret(t *testing.T, edges int, namespaces rules) *vault {
	t.Helper()
	v := &vault{key: edgetest.ECKey(t, ""), store: t.TempDir()}
	server := natsdtest.Start(t, `jetstream { store_dir: "`+v.store+`" }`)
	o := edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces, Secret: "open sesame"}
	withTokens([]token.Issuer{issuer("main", withPublic(v.key))}, func(c *config.Token) {
		c.From = []string{"auth", "authorization", "cookie:sid", "query:token"}
	})(&o)
	for range edges {
		v.edges = append(v.edges, edgetest.Start(t, o).Ready())
	}
	for _, n := range v.edges {
		edgetest.Eventually(t, "the edge knows all edges", func() bool { return len(n.Cluster.Edges()) == edges })
	}
	v.stage = &stage{&edgetest.Stage{Node: v.edges[0], Peer: edgetest.NewPeer(t, server.ClientURL()), NATS: server}, t}
	v.tape = v.record()
	return v
}

// sign makes a token that must not be found.
func (v *vault) sign(user string, more edgetest.Claims) string {
	made := v.key.Sign(edgetest.Subject(user, minutes, more), nil)
	v.tokens = append(v.tokens, made)
	return made
}

// hears is hear of a guest, and keeps what came.
func (v *vault) hears(g *guest) string {
	packet, _ := g.hear()
	v.seen.WriteString(packet + "\n")
	return packet
}

// isKept checks that nothing has carried a token.
func (v *vault) isKept() {
	v.t.Helper()
	stored, logs, metrics := "", "", ""
	_ = filepath.WalkDir(v.store, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text, _ := os.ReadFile(path)
			stored += string(text)
		}
		return nil
	})
	for _, n := range v.edges {
		logs += strings.Join(n.LoggedAll(), "\n")
		for _, set := range n.Metrics() {
			for _, m := range set.Metrics() {
				metrics += m.Name + " " + m.Value() + "\n"
			}
		}
	}
	if !strings.Contains(stored, "ann-") || !strings.Contains(metrics, "main accepted") || !strings.Contains(v.seen.String(), "token_audience_wrong") {
		v.t.Error("the records of sockets, the metrics of tokens, or the refusal of a client is not there")
	}
	for _, made := range v.tokens {
		for _, part := range append(strings.Split(made, ".")[1:], made) {
			for where, text := range map[string]string{
				"NATS": strings.Join(v.tape.lines(part), ""), "the log": logs, "a metric": metrics, "JetStream": stored, "what a client receives": v.seen.String(),
			} {
				if _, from, found := strings.Cut(text, part); found {
					v.t.Fatalf("a token is in %s, before %.100q", where, from)
				}
			}
		}
	}
}

// Nothing of a token comes into NATS, logs, metrics, errors or records, wherever a client puts it: accepted, refused or
// renewed; with sockets of other namespaces in the same session, before and after.
func TestATokenIsASecret(t *testing.T) {
	v := beginSecret(t, 1, secretRules())
	v.serve("door", `[{"user":"door"}]`)
	everyWay(v.stage, func(s *stage, w way) {
		for i, place := range []string{"auth", "authorization", "cookie", "query"} {
			user := fmt.Sprint("ann-", i)
			good, bad, next := v.sign(user, nil), v.sign(user, edgetest.Claims{"aud": "other"}), v.sign(user, edgetest.Claims{"nbf": 1})
			for _, shown := range []string{bad, good} {
				auth, query, header := `{"room":1}`, "v=1", http.Header{"Cookie": {"a=b"}, "X-Other": {"c"}}
				switch place {
				case "auth":
					auth = `{"token":"` + shown + `","room":1}`
				case "authorization":
					header.Set("Authorization", "Bearer "+shown)
				case "cookie":
					header.Set("Cookie", "a=b; sid="+shown)
				case "query":
					query += "&token=" + shown
				}
				g := &guest{talker: w.open(s, query, header), t: s.t}
				for _, namespace := range []string{"/lobby,", "/door,", "/chat,"} {
					if g.head = namespace; namespace == "/chat," {
						g.say("0/chat," + auth)
					} else {
						g.say("0" + namespace)
					}
					answer := v.hears(g)
					if namespace == "/chat," && shown == bad {
						g.refusal(answer)
					} else {
						g.connected(answer)
					}
				}
				if shown == bad {
					continue
				}
				g.does(`["join","x"]`)
				g.renews(next)
				s.has(g, `"user":"`+user+`"`)
				g.say(`2/chat,["last"]`)
			}
			v.carried(s.t, user)
		}
	})
	if notices := v.tape.lines("sio.chat.on.connect "); len(notices) < 4*len(ways) || !strings.Contains(notices[0], `"room":1`) || !strings.Contains(notices[0], "a=b") {
		t.Errorf("of connects in /chat was recorded %s", notices)
	}
	v.isKept()
}

// carried waits until NATS has carried the event last of a user.
func (v *vault) carried(t *testing.T, user string) {
	t.Helper()
	edgetest.Eventually(t, "the last event is recorded", func() bool {
		return slices.ContainsFunc(v.tape.lines("sio.chat.on.last "), func(line string) bool { return strings.Contains(line, user) })
	})
}

// The same between two edges: one forwards what a client sends to the other, with the token in each request, and takes
// its socket over later. Other sockets of the session have an owner, and then another.
func TestATokenIsASecretBetweenEdges(t *testing.T) {
	v := beginSecret(t, 2, secretRules())
	there := &stage{&edgetest.Stage{Node: v.edges[1], Peer: v.Peer, NATS: v.NATS}, t}
	for _, isMsgpack := range []bool{false, true} {
		user := fmt.Sprint("ann-", isMsgpack)
		good, bad, next, later := v.sign(user, nil), v.sign(user, edgetest.Claims{"aud": "other"}), v.sign(user, edgetest.Claims{"nbf": 1}), v.sign(user, edgetest.Claims{"nbf": 2})
		header := http.Header{"Cookie": {"a=b; sid=" + good}, "Authorization": {"Bearer " + good}, "X-Original-Uri": {"/socket.io/?token=" + good}}
		here := polling(v.stage, "token="+good, header, isMsgpack)
		here.url = strings.Replace(here.url, v.URL, there.URL, 1)
		forwarded := there.Figure("forwarded_total", "")

		a := startInstance(t, v.NC, fmt.Sprint("chat-a-", isMsgpack))
		g := &guest{talker: here, t: t, head: "/door,"}
		g.say("0/door,")
		a.accepts(`[{"user":"door"}]`)
		g.connected(v.hears(g))
		door := &socket{Head: g.head, Token: "door", ID: g.id}
		g.say(`2/door,["said"]`)
		a.gets(door, "said", `["said"]`)

		g.head = "/chat,"
		g.connect(bad)
		g.refusal(v.hears(g))
		g.connect(good)
		answer := v.hears(g)
		g.connected(answer)
		g.does(`["join","x"]`)
		g.renews(next)
		a.drop()
		b := startInstance(t, v.NC, fmt.Sprint("chat-b-", isMsgpack))
		v.Publish("sio.$svc.chat."+a.name+".left", string(a.announcement()))
		if h := b.accepts(`[]`); h.Handover == nil {
			t.Errorf("the new owner was asked %+v", h)
		}

		ends := v.hear("sio.chat.on.disconnect")
		g.drop()
		ends.Next()
		if there.Figure("forwarded_total", "") == forwarded {
			t.Error("no request was forwarded")
		}
		b.drop()
		var connect struct{ PID string }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(answer, "0/chat,")), &connect); err != nil || connect.PID == "" {
			t.Fatalf("no pid in %s", answer)
		}
		back := &guest{talker: polling(there, "token="+later, header, isMsgpack), t: t, head: "/chat,"}
		back.say(`0/chat,{"token":"` + later + `","pid":"` + connect.PID + `"}`)
		if back.connected(v.hears(back)); back.id != g.id {
			t.Errorf("it came back as %s, was %s", back.id, g.id)
		}
		back.say(`2/chat,["last"]`)
		v.carried(t, user)

		up := polling(v.stage, "token="+good, header, false)
		url := strings.Replace(strings.Replace(up.url, v.URL, there.URL, 1), "transport=polling", "transport=websocket", 1)
		g = &guest{talker: &framed{t, enginetest.Upgrade(t, v.Talk, "up", url, func() {}), false}, t: t, head: "/chat,"}
		g.say("0/chat,")
		g.connected(v.hears(g))
	}
	v.isKept()
}

// The same with an instance that owns the sockets which a token has admitted.
func TestATokenIsASecretFromOwners(t *testing.T) {
	door := secretRules()["/chat"]
	v := beginSecret(t, 1, rules{"/door": door})
	a := startInstance(t, v.NC, "chat-a")
	for i, w := range ways {
		user := fmt.Sprint("ann-", i)
		good, bad, next := v.sign(user, nil), v.sign(user, edgetest.Claims{"aud": "other"}), v.sign(user, edgetest.Claims{"nbf": 1})
		header := http.Header{"Cookie": {"a=b; sid=" + good}, "Authorization": {"Bearer " + good}}
		g := &guest{talker: w.open(v.stage, "token="+good, header), t: t, head: "/door,"}
		g.connect(bad)
		g.refusal(v.hears(g))
		g.connect(good)
		g.connected(v.hears(g))
		if h := a.accepts(`[]`); h.SID != g.id || h.Handover == nil || h.Handover.User != user {
			t.Errorf("the instance was asked %+v", h)
		}
		g.renews(next)
		g.say(`2/door,["said"]`)
		v.until(a.owned, "sio.door.own.chat-a.said")
	}
	v.isKept()
}
