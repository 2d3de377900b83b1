package backend_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// showing is a stage whose edge admits clients to /chat and shows who is in its rooms.
func showing(t *testing.T) *stage {
	return begin(t, func(o *edgetest.Options) {
		o.Namespaces = map[string]rule.Namespace{
			"/chat":   {Connect: rule.ConnectOpen, Rooms: []string{"*"}, UserRoom: "user:", Presence: rule.DefaultPresence("*")},
			"/silent": {Connect: rule.ConnectOpen, AutoJoin: []string{"lobby"}},
		}
	})
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

// TestFollow has clients enter and leave a room at edges that come and die.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := showing(t)
	io := s.start(s.service("watch"))
	chat := io.Of("/chat")
	early := s.enter("early", "/chat")
	early.emit("1", `["join","lobby"]`)
	early.acked("1", `[{"ok":true}]`)
	lobby, empty, silent := follow(t, chat, "lobby"), follow(t, chat, "a b.*>"), follow(t, io.Of("/silent"), "lobby")
	lobby.sees(t, early.id)
	empty.sees(t)
	quiet := s.enter("quiet", "/silent")
	late := follow(t, io.Of("/silent"), "lobby")
	late.sees(t, quiet.id)
	silent.sees(t) // its configuration shows nobody

	second := edgetest.Start(t, edgetest.Options{NATS: s.nats.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, UserRoom: "user:", Presence: rule.DefaultPresence("*")},
	}}).Ready()
	far := edgetest.Enter(second.Dial("far"), "/chat", "")
	far.Emit("1", `["join","lobby"]`)
	far.Acked("1", `[{"ok":true}]`)
	lobby.sees(t, early.id, far.ID)
	if _, err := chat.To(far.ID).SetGrant(t.Context(), backend.Grant{User: "ann"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "far is ann", func() bool {
		lobby.mu.Lock()
		defer lobby.mu.Unlock()
		return lobby.is[far.ID].User == "ann"
	})
	if _, err := chat.To(early.id).Leave(t.Context(), "lobby"); err != nil {
		t.Fatal(err)
	}
	if why := lobby.sees(t, far.ID); why != "leave" {
		t.Errorf("it left because of %q", why)
	}
	second.Stop()
	lobby.sees(t)

	// Without NATS nothing changes here, and afterwards the difference comes.
	early.emit("2", `["join","lobby"]`)
	early.acked("2", `[{"ok":true}]`)
	lobby.sees(t, early.id)
	s.nats.Stop()
	s.nats.Restart()
	more := s.Ready().Dial("more")
	other := edgetest.Enter(more, "/chat", "")
	other.Emit("1", `["join","lobby"]`)
	other.Acked("1", `[{"ok":true}]`)
	lobby.sees(t, early.id, other.ID)
}

// TestFollowAfterLostMessages has a stranger publish in an edge's name, so that numbers skip: the edges are asked again.
func TestFollowAfterLostMessages(t *testing.T) {
	t.Parallel()
	s := showing(t)
	chat := s.start(s.service("watch")).Of("/chat")
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["join","lobby"]`)
	ann.acked("1", `[{"ok":true}]`)
	lobby := follow(t, chat, "lobby")
	lobby.sees(t, ann.id)
	nc := s.connection()
	for i, text := range []string{
		`["members",{"edge":"` + s.ID + `","n":90,"joined":[{"id":"made.up"}],"left":[{"id":"` + ann.id + `","reason":"leave"}]}]`,
		`["members",{"edge":"` + s.ID + `","n":1,"joined":[],"left":[]}]`, `["members",{}]`, "x", `["members",{"edge":"nobody","n":7,"joined":[{"id":"x"}],"left":[]}]`,
	} {
		if err := nc.PublishMsg(&nats.Msg{Subject: "sio.chat.member.room.lobby", Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		bob := s.enter(fmt.Sprint("bob ", i), "/chat") // what the edge itself publishes skips numbers, too
		bob.emit("1", `["join","lobby"]`)
		bob.acked("1", `[{"ok":true}]`)
		lobby.sees(t, ann.id, bob.id)
		bob.Hangup()
		lobby.sees(t, ann.id)
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
