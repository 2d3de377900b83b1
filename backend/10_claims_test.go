package backend_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// claims is a service that owns sockets of an edge which the test plays, and what its handlers heard.
type claims struct {
	*fakeEdge
	io    *backend.Service
	id    string
	heard chan string
	back  *nats.Subscription // what the instance tells the edge of the socket
	pongs *nats.Subscription
}

func beginClaims(t *testing.T) *claims {
	t.Helper()
	s := begin(t)
	c := &claims{fakeEdge: &fakeEdge{t, s.connection(), "claiming"}, heard: make(chan string, 100)}
	c.io = s.service("chat")
	chat := c.io.Of("/chat", backend.Owned())
	chat.OnConnection(func(so *backend.Socket) {
		_, taken := so.TakenOver()
		c.heard <- fmt.Sprint("connected ", taken)
	})
	chat.OnHandover(func(_ *backend.Socket, reason string) { c.heard <- reason })
	chat.OnDisconnect(func(_ *backend.Socket, reason string) { c.heard <- reason })
	chat.On("n", func(n int) { c.heard <- fmt.Sprint(n) })
	s.start(c.io)
	c.say("hello")
	c.id = c.connect("aaaaaaaaaaaaaaaaaaaa")
	c.hears("connected false")
	c.back, c.pongs = c.sub("sio.chat.ack."+c.id+".connect"), c.sub("sio.$edge.claiming.pong.*")
	return c
}

func (c *claims) sub(subject string) *nats.Subscription {
	c.t.Helper()
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil || c.nc.Flush() != nil {
		c.t.Fatal(err)
	}
	return sub
}

func (c *claims) hears(want string) {
	c.t.Helper()
	select {
	case got := <-c.heard:
		if got != want {
			c.t.Fatalf("heard %s, want %s", got, want)
		}
	case <-time.After(patience):
		c.t.Fatalf("heard nothing, want %s", want)
	}
}

// tells publishes something for the instance, or its group, with a reply subject.
func (c *claims) tells(owner, event, reply, body string) {
	c.t.Helper()
	if err := c.nc.PublishRequest("sio.chat.own."+owner+"."+event, "sio.chat."+reply, []byte(body)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *claims) event(n int) {
	c.t.Helper()
	c.tells(c.io.Instance(), "n", "emit.socket."+c.id, fmt.Sprintf(`["n",%d]`, n))
}

func (c *claims) disowns(claim int) {
	c.t.Helper()
	c.tells(c.io.Instance(), "disconnect", "emit.socket."+c.id, fmt.Sprintf(`["disconnect",{"reason":"owner changed","rooms":[],"claim":%d}]`, claim))
}

// asks asks for a takeover.
func (c *claims) asks(owner string, claim int) {
	c.t.Helper()
	c.tells(owner, "connect", "ack."+c.id+".connect", fmt.Sprintf(
		`["connect",{"sid":%q,"auth":{},"takeover":{"from":%q,"claim":%d,"rev":0,"rooms":[],"data":{}}}]`, c.id, c.io.Instance(), claim))
}

// told waits for the instance's word, as the values of its headers.
func (c *claims) told(sub *nats.Subscription, want string) {
	c.t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		c.t.Fatalf("nothing on %s, want %s", sub.Subject, want)
	}
	var got []string
	for _, header := range []string{"Sio-Error", "Sio-Group", "Sio-Claim"} {
		got = append(got, m.Header.Get(header))
	}
	if owner := m.Header.Get("Sio-Owner"); strings.Join(got, ",") != want || owner != "" && owner != c.io.Instance() {
		c.t.Fatalf("%v, want %s", m.Header, want)
	}
}

// An instance says of each event of a socket that it does not own that it is not the owner; and it takes the socket over, if it is asked.
func TestAnEventOfASocketThatIsNotOwned(t *testing.T) {
	t.Parallel()
	c := beginClaims(t)
	c.event(1)
	c.hears("1")
	c.disowns(1)
	c.hears("owner changed")
	c.event(2)
	c.told(c.back, "not owner,chat,")
	c.event(3)
	c.told(c.back, "not owner,chat,")
	c.asks(c.io.Instance(), 2)
	c.told(c.back, ",chat,2")
	c.hears("connected true")
	c.event(4)
	c.hears("4")
}

// A word that ends a claim ends no newer one, however late it comes; and one that is lost is made up for by the next request.
func TestAWordAboutAnOlderClaim(t *testing.T) {
	t.Parallel()
	c := beginClaims(t)
	c.asks(c.io.Instance(), 2) // the edge asks whether it has the socket still
	c.told(c.back, ",chat,2")
	c.disowns(1) // late
	c.event(1)
	c.hears("1")
	c.asks("chat", 2) // its word is on its way, as far as the instance knows
	c.told(c.back, "again,,")
	c.asks("chat", 3) // the edge has ended claim 2, and its word about that is lost
	c.told(c.back, ",chat,3")
	c.hears("owner changed")
	c.hears("connected true")
	c.disowns(2) // not lost, but late
	c.event(2)
	c.hears("2")
	c.disowns(3)
	c.hears("owner changed")
}

// An instance that has taken an edge for dead says so when it hears it again.
func TestAnEdgeThatWasTakenForDeadIsTold(t *testing.T) {
	t.Parallel()
	c := beginClaims(t)
	c.hears("transport close") // it is silent
	c.say("beat")
	c.told(c.pongs, "not owner,,")
	c.say("beat")
	c.asks(c.io.Instance(), 2)
	c.told(c.back, ",chat,2")
	c.hears("connected true")
	if n, _, err := c.pongs.Pending(); err != nil || n != 0 {
		t.Errorf("it is told %d times more, %v", n, err)
	}
}
