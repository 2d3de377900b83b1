package backend

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	rooms "partyline/internal/members"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Member is a socket in a room.
type Member struct {
	ID     string // of the socket
	User   string // "" if it has none
	Reason string // why it has left: "leave", or the reason of its disconnect; "" while it is there
}

// lookEvery is how often Follow calls back at most.
const lookEvery = 100 * time.Millisecond

// Follow calls changed with who is in a room now, and then with who enters and leaves, at most ten times a second, until
// ctx ends. A member whose user has changed is in joined again. The first call may have no members. The edges'
// configuration must have presence for the room; without it, changed is called once.
//
// changed runs on the caller's goroutine, and the next changes wait for it. While NATS is away there are none. Once it is
// back, or an edge comes, or a message was lost, the edges are asked again and changed gets the difference. Members at an
// edge that dies leave with the reason "transport close".
//
// The service must have been started. Follow always returns an error: the context's, Closed, or BadArguments for what
// can be no room.
func (n *Namespace) Follow(ctx context.Context, room string, changed func(joined, left []Member)) error {
	s := n.svc
	ask, err := n.To(room).message(subjects.VerbFetch)
	switch {
	case err != nil:
		return err
	case subjects.IsSocketID(room):
		return failure(BadArguments, "Follow: %s is the id of a socket, not a room", room)
	case s.state.Load() != running:
		return failure(Closed, "Follow: the service has not been started, or is closed")
	}
	tail, _ := subjects.AppendRoom(nil, room)
	f := follower{s: s, ask: ask, inbox: s.nc.NewInbox(), isDue: true, table: rooms.New(&rule.Rules{
		Namespace: rule.Namespace{Presence: rule.Presence{Max: math.MaxInt}},
	})}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan *nats.Msg, 64)
	var subs subscriptions
	defer func() {
		for _, sub := range subs.take() {
			_ = sub.Unsubscribe()
		}
	}()
	if err := subs.add(s.connection, func(m *nats.Msg) {
		select {
		case came <- m:
		case <-ctx.Done():
		}
	}, interest{string(s.prefix.AppendToRoom(nil, n.token, subjects.VerbMember, string(tail))), ""}, interest{f.inbox + ".*", ""}); err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case m := <-came:
			f.take(m)
		case now := <-tick.C:
			f.look(now, subs.lost(), changed)
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return failure(Closed, "the service is closed")
		}
	}
}

// follower is one call of Follow.
type follower struct {
	s      *Service
	ask    *nats.Msg // the question to all edges who is in the room
	inbox  string    // begins the reply subjects
	table  *rooms.Room
	live   []string // edges
	losses uint64   // what may have cost messages
	isDue  bool     // the edges must be asked
	isTold bool     // changed was called

	number int       // of the last question
	until  time.Time // how long answers to it count; zero: they have come
}

// take takes what an edge has published or answered.
func (f *follower) take(m *nats.Msg) {
	number, isAnswer := strings.CutPrefix(m.Subject, f.inbox+".")
	if !isAnswer {
		if news, err := msg.ParseMembers(m.Data); err == nil {
			for i := range news.Joined {
				news.Joined[i].Data = nil // the answers would have it where edges do not show it
			}
			f.isDue = !f.table.Apply(&news) || f.isDue
		}
		return
	}
	a, err := msg.ParseAnswer(m.Data)
	if err != nil || f.until.IsZero() || number != strconv.Itoa(f.number) {
		return // an error, or too late: the edge is asked again
	}
	var sockets []msg.Present
	for _, element := range a.Rest {
		var so msg.FetchedSocket
		if json.Unmarshal(element, &so) == nil {
			sockets = append(sockets, msg.Shown(so.ID, so.User, nil))
		}
	}
	f.table.Answer(a.Edge, sockets, msg.IsLastPart(m.Header.Get(msg.HeaderPart)))
}

// look asks the edges if need be, and tells what has changed.
func (f *follower) look(now time.Time, lost uint64, changed func(joined, left []Member)) {
	if !f.s.nc.IsConnected() {
		return
	}
	live, _ := f.s.edges.living()
	isNew := func(edge string) bool { return !slices.Contains(f.live, edge) }
	losses := lost + f.s.nc.Stats().Reconnects
	f.isDue = f.isDue || losses != f.losses || slices.ContainsFunc(live, isNew)
	f.live, f.losses = live, losses
	f.table.Keep(live)
	if !f.until.IsZero() {
		isLate := now.After(f.until)
		if isWhole := f.table.Answered(live, isLate); isWhole || isLate {
			f.until, f.isDue = time.Time{}, f.isDue || !isWhole
		}
	}
	if f.isTold || f.number > 0 && f.until.IsZero() {
		if news, is := f.table.News(); is || !f.isTold {
			f.isTold = true
			changed(membersOf(news.Joined), membersOf(news.Left))
		}
	}
	if f.isDue && f.until.IsZero() {
		f.number++
		f.table.Ask()
		ask := *f.ask
		ask.Reply = f.inbox + "." + strconv.Itoa(f.number)
		if f.s.publish(&ask) == nil {
			f.until, f.isDue = now.Add(f.s.wait), false
		}
	}
}

func membersOf(all []msg.Present) (list []Member) {
	for _, p := range all {
		list = append(list, Member{p.ID, p.User, p.Reason})
	}
	return list
}
