package test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/config"
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

// Nothing of a token comes into NATS, logs or records, wherever a client puts it: accepted, refused or renewed; with
// sockets of other namespaces in the same session, before and after.
func TestATokenIsASecret(t *testing.T) {
	key := edgetest.ECKey(t, "")
	store := t.TempDir()
	server := natsdtest.Start(t, `jetstream { store_dir: "`+store+`" }`)
	s := beginAt(t, server, secretRules(), withTokens([]token.Issuer{issuer("main", withPublic(key))}, func(c *config.Token) {
		c.From = []string{"auth", "authorization", "cookie:sid", "query:token"}
	}))
	s.serve("door", `[{"user":"door"}]`)
	tape := s.record()
	sign := func(user string, more edgetest.Claims) string {
		return key.Sign(edgetest.Subject(user, minutes, more), nil)
	}
	var secrets []string
	everyWay(s, func(s *stage, w way) {
		for i, place := range []string{"auth", "authorization", "cookie", "query"} {
			user := fmt.Sprint("ann-", i)
			good, bad, next := sign(user, nil), sign(user, edgetest.Claims{"aud": "other"}), sign(user, edgetest.Claims{"nbf": 1})
			secrets = append(secrets, good, bad, next)
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
					answer, _ := g.hear()
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
			edgetest.Eventually(s.t, "the last event is recorded", func() bool {
				for _, line := range tape.lines("sio.chat.on.last ") {
					if strings.Contains(line, user) {
						return true
					}
				}
				return false
			})
		}
	})
	if notices := tape.lines("sio.chat.on.connect "); len(notices) < 4*len(ways) || !strings.Contains(notices[0], `"room":1`) || !strings.Contains(notices[0], "a=b") {
		t.Errorf("of connects in /chat was recorded %s", notices)
	}
	var stored []byte
	_ = filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text, _ := os.ReadFile(path)
			stored = append(stored, text...)
		}
		return nil
	})
	if !bytes.Contains(stored, []byte("ann-3")) {
		t.Error("the records of sockets are not in the store")
	}
	logged := strings.Join(s.Logged(), "\n")
	for _, secret := range secrets {
		for _, part := range append(strings.Split(secret, ".")[1:], secret) {
			if lines := tape.lines(part); len(lines) > 0 {
				t.Errorf("NATS carried %.300s", lines[0])
			}
			if strings.Contains(logged, part) {
				t.Error("a token is in the log")
			}
			if bytes.Contains(stored, []byte(part)) {
				t.Error("a token is in JetStream")
			}
		}
		if t.Failed() {
			break
		}
	}
}
