package backend

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	table "partyline/internal/members"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Member is a socket in a room.
type Member struct {
	ID     string // of the socket
	User   string // "" if it has none, or one of more than 512 bytes
	Reason string // why it has left: "leave", or the reason of its disconnect; "" while it is there
}

// How often Follow calls back at most, and how long it waits after edges did not answer before it asks again.
const (
	followEvery = 100 * time.Millisecond
	followAgain = time.Second
)

// Follow calls changed with the members of a room, which may be none, and then with those who enter and leave, at most
// ten times a second, until ctx ends. A member with another user is in joined again. The edges must show who is in the
// room (presence in their configuration): otherwise later calls come only when an edge comes or goes.
//
// changed runs on the caller's goroutine. While NATS is away there are no calls. When it is back, an edge has come, or
// a message was lost, Follow asks all edges again, and changed gets the difference. Members at an edge that has gone
// leave with the reason "transport close"; those at one that does not answer join when it does.
//
// The service must have been started. Follow always returns an error: the context's, Closed, Refused if NATS does not
// permit to subscribe, or BadArguments for what can be no room.
func (n *Namespace) Follow(ctx context.Context, room string, changed func(joined, left []Member)) error {
	s, before := n.svc, n.svc.nc.LastError()
	f := follower{room: n.To(room), isDue: true, table: table.New(&rule.Rules{
		Namespace: rule.Namespace{Presence: rule.Presence{Max: math.MaxInt}},
	})}
	switch {
	case f.room.err != nil:
		return f.room.err
	case subjects.IsSocketID(room):
		return failure(BadArguments, "Follow: %s is the id of a socket, not a room", room)
	case s.state.Load() != running:
		return failure(Closed, "Follow: the service has not been started, or is closed")
	}
	sub, err := s.subscribe(string(s.prefix.AppendToRoom(nil, n.token, subjects.VerbMember, f.room.names[0])), "", f.take)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for isTold := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return failure(Closed, "Follow: the service is closed")
		case <-tick.C:
		}
		if !s.nc.IsConnected() {
			continue
		}
		lost, _ := sub.Dropped()
		if f.mustAsk(uint64(lost) + s.nc.Stats().Reconnects) {
			asking.Go(func() { f.ask(ctx) })
		}
		joined, left, isKnown := f.news()
		if !isKnown || isTold && len(joined)+len(left) == 0 {
			continue
		}
		err := s.nc.LastError() // the edges have answered, so NATS has, too
		if !isTold && err != before && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), sub.Subject) {
			return because(Refused, err, "Follow: NATS does not permit this service to subscribe (docs/subjects.md, Permissions)")
		}
		isTold = true
		changed(joined, left)
	}
}

// follower is one call of Follow.
type follower struct {
	room Target

	mu       sync.Mutex  // for what follows
	table    *table.Room // of what edges have published and answered
	live     []string    // the edges that live
	lost     uint64      // what may have cost messages
	isDue    bool        // the edges must be asked
	isAsking bool
	isKnown  bool      // they were
	again    time.Time // when they may be asked again
}

// take takes what an edge has published.
func (f *follower) take(m *nats.Msg) {
	news, err := msg.ParseMembers(m.Data)
	if err != nil {
		f.room.ns.svc.bad(m, err.Error())
		return
	}
	for i := range news.Joined {
		news.Joined[i].Data = nil // answers have it also where edges do not show it
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isDue = !f.table.Apply(&news) || f.isDue
}

// mustAsk forgets the members at edges that have gone. It reports whether ask must be called.
func (f *follower) mustAsk(lost uint64) bool {
	live, _ := f.room.ns.svc.edges.living()
	f.mu.Lock()
	defer f.mu.Unlock()
	isNew := func(edge string) bool { return !slices.Contains(f.live, edge) }
	f.isDue = f.isDue || lost != f.lost || slices.ContainsFunc(live, isNew)
	f.live, f.lost = live, lost
	f.table.Keep(live)
	if !f.isDue || f.isAsking || time.Now().Before(f.again) {
		return false
	}
	f.isDue, f.isAsking = false, true
	f.table.Ask()
	return true
}

// news returns what has changed, and whether the edges have been asked.
func (f *follower) news() (joined, left []Member, isKnown bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isKnown {
		news, _ := f.table.News()
		joined, left = membersOf(news.Joined), membersOf(news.Left)
	}
	return joined, left, f.isKnown
}

// ask asks all edges who is in the room.
func (f *follower) ask(ctx context.Context) {
	m, _ := f.room.message(subjects.VerbFetch)
	answers := make(map[string][]msg.Present) // by edge
	err := f.room.ask(ctx, m, nil, func(a *msg.Answer) error {
		sockets := answers[a.Edge]
		for _, element := range a.Rest {
			var so msg.FetchedSocket
			if json.Unmarshal(element, &so) == nil {
				sockets = append(sockets, msg.Shown(so.ID, so.User, nil))
			}
		}
		answers[a.Edge] = sockets
		return nil
	})
	var silent *SilentEdges
	isSilent := errors.As(err, &silent)
	f.mu.Lock()
	defer f.mu.Unlock()
	for edge, sockets := range answers {
		if err == nil || isSilent && !slices.Contains(silent.Edges, edge) { // else a part of its answer may be missing
			f.table.Answer(edge, sockets, true)
		}
	}
	f.table.Answered(nil, true)
	f.table.Keep(f.live) // an edge that is not known yet is asked again when it is
	f.isAsking, f.isKnown = false, true
	if err != nil && ctx.Err() == nil {
		f.isDue, f.again = true, time.Now().Add(followAgain)
		f.room.ns.svc.complaints.Warn("the members of a room are not known; asking again", m.Subject, err)
	}
}

func membersOf(all []msg.Present) (list []Member) {
	for _, p := range all {
		list = append(list, Member{p.ID, p.User, p.Reason})
	}
	return list
}
