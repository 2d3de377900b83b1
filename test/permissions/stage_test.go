// Package permissions runs NATS with the users that the contract shows (docs/subjects.md, Permissions): an edge, a service
// of one namespace, and a publisher to its rooms. Each can do its work and nothing else, and none can make another do what
// it may not do itself.
package permissions

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/edge"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		return // whole programs and outages are not for `make check`
	}
	goleak.VerifyTestMain(m)
}

const patience = 40 * time.Second

// admin is a user that the contract does not show: it may do everything, and hears what the others bring about.
const admin = `{user: admin, password: admin-secret}`

// documented is the configuration of the contract, and the admin.
func documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```conf\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(found) != 1 {
		t.Fatalf("the contract has %d configurations of nats-server, want one", len(found))
	}
	conf := found[0][1]
	if strings.Count(conf, "users: [") != 1 {
		t.Fatal("the contract's configuration has not one list of users")
	}
	return strings.Replace(conf, "users: [", "users: [\n"+admin, 1)
}

// stage is an edge that is the user edge, ann and bob, who are in /chat and /secret, and a NATS server that knows four users.
type stage struct {
	*edgetest.Node
	t        *testing.T
	server   *natsdtest.Server
	admin    *user
	ann, bob *socket
	secret   *socket // ann's session in /secret, which none of the users may reach
	said     int
}

type socket struct {
	*enginetest.Client
	id string
}

func begin(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, server: natsdtest.Start(t, documented(t))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"), Namespaces: map[string]edge.Namespace{
		"/chat": {Rooms: []string{"*"}, Relay: []edge.Relay{
			{Event: "say", To: edge.ToRooms, Self: true}, {Event: "shout", To: edge.ToAll}, {Event: "direct", To: edge.ToSocket},
		}},
		"/secret": {Connect: edge.ConnectOpen, AutoJoin: []string{"vault"}},
	}}).Ready()
	s.admin = s.as("admin")
	service := s.as("chat")
	service.answer("sio.chat.on.connect", `[{"rooms":["news"],"user":"u"}]`)
	s.ann, s.bob = s.enter("ann", "/chat"), s.enter("bob", "/chat")
	s.secret = s.enter("eve", "/secret")
	return s
}

func (s *stage) url(user string) string {
	return strings.Replace(s.server.ClientURL(), "nats://", "nats://"+user+":"+user+"-secret@", 1)
}

func (s *stage) enter(name, namespace string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	return &socket{c, c.Connect(namespace, "")}
}

// fine lets one of the pair say the next number, which both hear next, and sees that eve heard nothing.
func (s *stage) fine() {
	s.t.Helper()
	speaker := s.ann
	if s.said%2 == 1 {
		speaker = s.bob
	}
	s.said++
	message := `42/chat,["say",` + strings.Repeat("1", s.said%7+1) + `]`
	speaker.Send(message)
	s.ann.Expect(message)
	s.bob.Expect(message)
	// What comes for eve has come before this.
	s.admin.publish("sio.secret.emit.room.vault", "", `["marker"]`)
	s.secret.Expect(`42/secret,["marker"]`)
}

func (s *stage) figure(name string) int {
	for _, set := range []*tally.Set{s.Edge.Metrics(), s.Bus.Metrics()} {
		for _, m := range set.Metrics() {
			if m.Name == name {
				return int(m.Read())
			}
		}
	}
	panic("no metric " + name)
}

// user is a connection of one of the users.
type user struct {
	t    *testing.T
	name string
	nc   *nats.Conn

	mu      sync.Mutex
	refused []string // guarded by mu: what NATS said no to
}

func (s *stage) as(name string) *user {
	s.t.Helper()
	u := &user{t: s.t, name: name}
	closed := make(chan struct{})
	nc, err := nats.Connect(s.url(name), nats.CustomInboxPrefix("_INBOX."+name),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			u.mu.Lock()
			u.refused = append(u.refused, err.Error())
			u.mu.Unlock()
		}), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close(); <-closed })
	u.nc = nc
	return u
}

func (u *user) publish(subject, reply, body string, headers ...string) {
	u.t.Helper()
	m := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(body)}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[name] = append(m.Header[name], value)
	}
	if err := u.nc.PublishMsg(m); err != nil {
		u.t.Fatal(err)
	}
	if err := u.nc.Flush(); err != nil {
		u.t.Fatal(err)
	}
}

// answer serves a subject, as one of a group.
func (u *user) answer(subject, body string) {
	u.t.Helper()
	if _, err := u.nc.QueueSubscribe(subject, "service", func(m *nats.Msg) { _ = m.Respond([]byte(body)) }); err != nil {
		u.t.Fatal(err)
	}
	if err := u.nc.Flush(); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) hear(subject string) *nats.Subscription {
	u.t.Helper()
	sub, err := u.nc.SubscribeSync(subject)
	if err != nil {
		u.t.Fatal(err)
	}
	if err := u.nc.Flush(); err != nil {
		u.t.Fatal(err)
	}
	return sub
}

// mayNot waits until NATS has said no to a publish or a subscription.
func (u *user) mayNot(what, subject string) {
	u.t.Helper()
	words := "permissions violation for " + what + ` to "` + subject + `"`
	edgetest.Eventually(u.t, "NATS does not let "+u.name+" "+what+" to "+subject, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, said := range u.refused {
			if strings.Contains(strings.ToLower(said), strings.ToLower(words)) {
				return true
			}
		}
		return false
	})
}

// unhindered sees that NATS has said no to nothing.
func (u *user) unhindered() {
	u.t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.refused) > 0 {
		u.t.Errorf("NATS refused %s: %q", u.name, u.refused)
	}
}
