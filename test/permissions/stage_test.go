// Package permissions runs NATS with the users of the contract (docs/subjects.md, Permissions): an edge, a service of
// one namespace, and a publisher to its rooms. Each can do its work and nothing else. None can make another do what
// it may not do itself.
package permissions

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(8)
	edgetest.LongMain(m, nil)
}

// admin is a user that is not in the contract. It may do everything, and receives what the others cause.
const admin = `{user: admin, password: admin-secret}`

// documented is the configuration in the contract, plus the admin.
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

// stage is a NATS server with four users, an edge as the user edge, a pair in /chat, and eve in /secret.
type stage struct {
	*edgetest.Node
	t        *testing.T
	server   *natsdtest.Server
	admin    *user
	pair     *edgetest.Pair
	ann, bob *socket // of the pair
	secret   *socket // in /secret, which no user may reach
}

type socket = edgetest.Socket

func begin(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, server: natsdtest.Start(t, documented(t))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"), Replies: []string{"_INBOX.>", "orders.>"}, Namespaces: map[string]rule.Namespace{
		"/chat": {Rooms: []string{"*"}, Relay: []rule.Relay{
			{Event: "say", To: rule.ToRooms, Self: true}, {Event: "shout", To: rule.ToAll},
			{Event: "direct", To: rule.ToSocket},
		}},
		"/secret": {Connect: rule.ConnectOpen, AutoJoin: []string{"vault"}},
	}}).Ready()
	s.admin = s.as("admin")
	service := s.as("chat")
	service.answer("sio.chat.on.connect", `[{"rooms":["news"],"user":"u"}]`)
	s.pair = edgetest.NewPair(t, s.Node, "/chat")
	s.ann, s.bob, s.secret = s.pair.Ann, s.pair.Bob, s.Enter("eve", "/secret")
	return s
}

func (s *stage) url(user string) string {
	return strings.Replace(s.server.ClientURL(), "nats://", "nats://"+user+":"+user+"-secret@", 1)
}

// fine checks that the pair still works, and that eve received nothing.
func (s *stage) fine() {
	s.t.Helper()
	s.pair.Fine()
	// Earlier messages for eve have arrived before this.
	s.admin.publish("sio.secret.emit.room.vault", "", `["marker"]`)
	s.secret.Gets(`["marker"]`)
}

// user is a connection of one of the users.
type user struct {
	*edgetest.Peer
	t    *testing.T
	name string

	mu      sync.Mutex
	refused []string // guarded by mu: what NATS refused
}

func (s *stage) as(name string) *user {
	s.t.Helper()
	u := &user{t: s.t, name: name}
	u.Peer = edgetest.NewPeer(s.t, s.url(name), nats.CustomInboxPrefix("_INBOX."+name),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			u.mu.Lock()
			u.refused = append(u.refused, err.Error())
			u.mu.Unlock()
		}))
	return u
}

// publish returns once the server has processed the message, and has refused it if it does.
func (u *user) publish(subject, reply, body string, headers ...string) {
	u.t.Helper()
	u.PublishReply(subject, reply, body, headers...)
	u.Flush()
}

// answer answers requests on a subject, as a member of a queue group.
func (u *user) answer(subject, body string) {
	u.t.Helper()
	if _, err := u.NC.QueueSubscribe(subject, "service", func(m *nats.Msg) { _ = m.Respond([]byte(body)) }); err != nil {
		u.t.Fatal(err)
	}
	u.Flush()
}

// mayNot waits until NATS has refused a publish or a subscription.
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

// unhindered checks that NATS has refused nothing.
func (u *user) unhindered() {
	u.t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.refused) > 0 {
		u.t.Errorf("NATS refused %s: %q", u.name, u.refused)
	}
}
