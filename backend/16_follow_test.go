package backend_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// showing is a stage whose edge admits clients to /chat and shows who is in its rooms.
func showing(t *testing.T) *stage {
	return begin(t, show)
}

func show(o *edgetest.Options) { o.Namespaces = shown }

var shown = map[string]rule.Namespace{
	"/chat":   {Connect: rule.ConnectOpen, Rooms: []string{"*"}, UserRoom: "user:", Presence: rule.DefaultPresence("*")},
	"/silent": {Connect: rule.ConnectOpen, AutoJoin: []string{"lobby"}},
}

// followed is what one Follow has told.
type followed struct {
	mu     sync.Mutex
	calls  int                       // guarded by mu
	is     map[string]backend.Member // guarded by mu
	left   []backend.Member          // guarded by mu
	faults []string                  // guarded by mu
}

// follow follows a room until the test ends.
func follow(t *testing.T, ns *backend.Namespace, room string) *followed {
	t.Helper()
	f := &followed{is: make(map[string]backend.Member)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ns.Follow(ctx, room, f.changed) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
		if f.faults != nil {
			t.Error(f.faults)
		}
	})
	return f
}

func (f *followed) changed(joined, left []backend.Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for _, m := range joined {
		if f.is[m.ID] == m {
			f.faults = append(f.faults, fmt.Sprintf("%+v has joined twice", m))
		}
		f.is[m.ID] = m
	}
	for _, m := range left {
		if _, isIn := f.is[m.ID]; !isIn || m.Reason == "" {
			f.faults = append(f.faults, fmt.Sprintf("%+v has left, and is not there", m))
		}
		delete(f.is, m.ID)
		f.left = append(f.left, m)
	}
}

// sees waits until the room has some members, and returns why the last one has left.
func (f *followed) sees(t *testing.T, want ...string) (reason string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, fmt.Sprint("the room has ", want), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := len(f.left); n > 0 {
			reason = f.left[n-1].Reason
		}
		return f.calls > 0 && slices.Equal(slices.Sorted(maps.Keys(f.is)), want)
	})
	return reason
}

// joins has a client enter the room lobby. That it did, the caller sees.
func (c *client) joins() { c.emit("", `["join","lobby"]`) }

// TestFollow has clients enter and leave a room at edges that come and go.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := showing(t)
	io := s.start(s.service("watch"))
	chat := io.Of("/chat")
	early := s.enter("early", "/chat")
	early.joins()
	lobby, empty, silent := follow(t, chat, "lobby"), follow(t, chat, "a b.*>"), follow(t, io.Of("/silent"), "lobby")
	lobby.sees(t, early.id)
	empty.sees(t)
	quiet := s.enter("quiet", "/silent")
	late := follow(t, io.Of("/silent"), "lobby")
	late.sees(t, quiet.id)
	silent.sees(t) // its configuration shows no members

	second := edgetest.Start(t, edgetest.Options{NATS: s.nats.ClientURL(), Namespaces: shown}).Ready()
	far := enter(second, "far", "/chat", "")
	far.joins()
	lobby.sees(t, early.id, far.id)
	if _, err := chat.To(far.id).SetGrant(t.Context(), backend.Grant{User: "ann"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "far is ann", func() bool {
		lobby.mu.Lock()
		defer lobby.mu.Unlock()
		return lobby.is[far.id].User == "ann"
	})
	if _, err := chat.To(early.id).Leave(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	if why := lobby.sees(t, far.id); why != "leave" {
		t.Errorf("it left because of %q", why)
	}
	second.Stop()
	lobby.sees(t)

	// Without NATS nothing changes here, and afterwards the difference comes.
	early.joins()
	lobby.sees(t, early.id)
	s.nats.Stop()
	s.nats.Restart()
	other := enter(s.Ready(), "other", "/chat", "")
	other.joins()
	lobby.sees(t, early.id, other.id)
}

// TestFollowAfterLostMessages has a stranger publish in an edge's name, so that numbers skip: the edges are asked again.
func TestFollowAfterLostMessages(t *testing.T) {
	t.Parallel()
	s := showing(t)
	chat := s.start(s.service("watch")).Of("/chat")
	ann := s.enter("ann", "/chat")
	ann.joins()
	lobby := follow(t, chat, "lobby")
	lobby.sees(t, ann.id)
	nc := s.connection()
	for i, text := range []string{
		`["members",{"edge":"` + s.ID + `","n":90,"joined":[{"id":"made.up"}],"left":[{"id":"` + ann.id + `","reason":"leave"}]}]`,
		`["members",{"edge":"` + s.ID + `","n":1,"joined":[],"left":[]}]`, `["members",{}]`, "x", `["members",{"edge":"unknown","n":7,"joined":[{"id":"x"}],"left":[]}]`,
	} {
		if err := nc.Publish("sio.chat.member.room.lobby", []byte(text)); err != nil {
			t.Fatal(err)
		}
		bob := s.enter(fmt.Sprint("bob ", i), "/chat") // what the edge itself publishes skips numbers, too
		bob.joins()
		lobby.sees(t, ann.id, bob.id)
		bob.Hangup()
		lobby.sees(t, ann.id)
	}
}

// TestFollowBesideAnEdgeThatDoesNotAnswer has a made-up edge that publishes members and beats, does not answer, and
// dies. What the other edge publishes comes meanwhile.
func TestFollowBesideAnEdgeThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := showing(t)
	chat := s.start(s.service("watch", backend.WithLimits(backend.Limits{Wait: time.Second}))).Of("/chat")
	lobby := follow(t, chat, "lobby")
	lobby.sees(t)
	nc := s.connection()
	ctx, die := context.WithCancel(t.Context())
	defer die()
	var beats sync.WaitGroup
	defer beats.Wait()
	beat := func() { _ = nc.Publish("sio.$edge.stranger.beat", []byte(`[{"edge":"stranger"}]`)) }
	beat()
	beats.Go(func() {
		for tick := time.Tick(200 * time.Millisecond); ctx.Err() == nil; beat() {
			select {
			case <-tick:
			case <-ctx.Done():
				return
			}
		}
	})
	if err := nc.Publish("sio.chat.member.room.lobby", []byte(`["members",{"edge":"stranger","n":1,"joined":[{"id":"stranger.s"}],"left":[]}]`)); err != nil {
		t.Fatal(err)
	}
	ann := s.enter("ann", "/chat")
	ann.joins()
	lobby.sees(t, ann.id, "stranger.s")
	for range 2 { // it is asked again and again
		ann.Hangup()
		lobby.sees(t, "stranger.s")
		ann = s.enter("ann", "/chat")
		ann.joins()
		lobby.sees(t, ann.id, "stranger.s")
	}
	die()
	if why := lobby.sees(t, ann.id); why != "transport close" {
		t.Errorf("the sockets of a dead edge leave because of %q", why)
	}
}

// TestWhatCannotBeFollowed has what Follow refuses at once.
func TestWhatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	s := showing(t)
	io := s.service("watch")
	isRefused := func(ns *backend.Namespace, room string, want error) {
		t.Helper()
		if err := ns.Follow(t.Context(), room, func(_, _ []backend.Member) { t.Error("it was followed") }); !errors.Is(err, want) {
			t.Errorf("%s %q: %v, want %v", ns.Name(), room, err, want)
		}
	}
	isRefused(io.Of("/chat"), "lobby", backend.Closed) // not started
	s.start(io)
	isRefused(io.Of("/chat"), s.enter("ann", "/chat").id, backend.BadArguments)
	isRefused(io.Of("/chat"), string(make([]byte, 2000)), backend.BadArguments)
	isRefused(io.Of("/ch*"), "lobby", backend.BadArguments)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- io.Of("/chat").Follow(ctx, "lobby", func(_, _ []backend.Member) {}) }()
	if err := io.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, backend.Closed) {
		t.Errorf("a service that closes: %v", err)
	}
}

// A service that may not subscribe to what edges publish learns that, and does not wait for members that never come.
func TestNATSRefusesToFollow(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, `authorization { users: [
		{user: edge, password: edge}
		{user: svc, password: svc, permissions: {subscribe: {deny: ["sio.chat.member.>"]}}}
	] }`)
	url := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"@", 1)
	}
	s := &stage{t: t, nats: server, Node: edgetest.Start(t, edgetest.Options{NATS: url("edge"), Namespaces: shown}).Ready()}
	io := s.start(serviceOn(t, connection(t, url("svc"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})), s.Talk, "watch"))
	for range 2 {
		err := io.Of("/chat").Follow(t.Context(), "lobby", func(_, _ []backend.Member) { t.Error("it was followed") })
		if !errors.Is(err, backend.Refused) {
			t.Errorf("Follow: %v, want %v", err, backend.Refused)
		}
	}
}

// A client enters a room. The edges' configuration has presence for it.
func ExampleNamespace_Follow() {
	scene := newScene(show)
	defer scene.end()
	io := scene.service()
	scene.start(io)
	scene.connect("ann", "/chat", "").emit(`["join","lobby"]`)
	ctx, cancel := context.WithCancel(context.Background())
	show := func(members map[string]backend.Member) {
		if len(members) > 0 {
			fmt.Println(len(members), "is there")
			cancel() // this example ends
		}
	}

	members := map[string]backend.Member{}
	err := io.Of("/chat").Follow(ctx, "lobby", func(joined, left []backend.Member) {
		for _, m := range joined {
			members[m.ID] = m
		}
		for _, m := range left {
			delete(members, m.ID)
		}
		show(members)
	})
	fmt.Println(err)
	// Output:
	// 1 is there
	// context canceled
}
