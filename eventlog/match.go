package eventlog

import (
	"errors"
	"slices"
	"time"

	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/recovery"
)

// ErrHole is given to Scan.Done if the log does not have all that a receiver has missed any more.
var ErrHole = errors.New("the log does not have all events that it missed any more")

// Receiver is for whom a scan reads: Each gets only the events that are for it.
type Receiver struct {
	Namespace string          // token
	Socket    string          // id; "": everything in the namespace
	Owner     string          // the instance that owns the socket
	Rooms     []recovery.Span // in which the socket was; To is 0 where it is still
	// Alive is when the socket had everything for certain: what the log dropped was stored before, or it is a hole.
	// Zero: the log must have everything since Scan.From.
	Alive time.Time
}

// index finds the scans that an event may be for, by namespace, and by namespace and room or socket. Scans without a
// receiver are in every.
type index struct {
	every                        []*Scan
	whole, all, byRoom, bySocket map[string][]*Scan
}

func newIndex(scans []*Scan) *index {
	x := &index{
		whole: make(map[string][]*Scan), all: make(map[string][]*Scan), byRoom: make(map[string][]*Scan), bySocket: make(map[string][]*Scan),
	}
	add := func(to map[string][]*Scan, key string, s *Scan) { to[key] = append(to[key], s) }
	for _, s := range scans {
		switch r := s.For; {
		case r == nil:
			x.every = append(x.every, s)
		case r.Socket == "":
			add(x.whole, r.Namespace, s)
		default:
			add(x.all, r.Namespace, s)
			add(x.bySocket, r.Namespace+" "+r.Socket, s)
			for _, room := range r.Rooms {
				add(x.byRoom, r.Namespace+" "+room.Room, s)
			}
		}
	}
	return x
}

// hand gives a message to the scans that it is for.
func (x *index) hand(e *Entry, prefix subjects.Prefix) {
	for _, s := range x.every {
		s.give(e)
	}
	if len(x.whole)+len(x.all) == 0 {
		return
	}
	sub, ok := prefix.Parse(e.Subject)
	if !ok || sub.Kind != subjects.KindCommand || msg.IsVolatile(e.Header) {
		return
	}
	for _, s := range x.whole[sub.Namespace] {
		s.give(e)
	}
	rooms := e.Header[msg.HeaderRooms]
	switch {
	case sub.Target == subjects.TargetSocket:
		for _, s := range x.bySocket[sub.Namespace+" "+sub.Socket] {
			s.give(e)
		}
		return
	case sub.Target == subjects.TargetRoom:
		rooms = []string{sub.Room}
	case rooms == nil:
		for _, s := range x.all[sub.Namespace] {
			s.receive(e)
		}
	}
	for _, room := range rooms {
		for _, s := range x.byRoom[sub.Namespace+" "+room] {
			if recovery.WasIn(s.For.Rooms, room, e.Seq) {
				s.receive(e)
			}
		}
		for _, s := range x.bySocket[sub.Namespace+" "+room] {
			s.receive(e)
		}
	}
}

// receive gives a message to a scan, unless it leaves the socket out.
func (s *Scan) receive(e *Entry) {
	if by := e.Header[msg.HeaderOwnedBy]; by != nil && by[0] != s.For.Owner {
		return
	}
	isExcepted := slices.ContainsFunc(e.Header[msg.HeaderExcept], func(name string) bool {
		return name == s.For.Socket || recovery.WasIn(s.For.Rooms, name, e.Seq)
	})
	if !isExcepted {
		s.give(e)
	}
}

// give gives a message to a scan, once.
func (s *Scan) give(e *Entry) {
	if e.Seq > s.From && e.Seq <= s.To && e.Seq > s.last {
		s.last = e.Seq
		s.Each(e)
	}
}

// hole returns ErrHole if a receiver lacks what the log has dropped.
func (s *Scan) hole() error {
	if s.For != nil && s.first > s.From+1 && (s.For.Alive.IsZero() || s.oldest.After(s.For.Alive)) {
		return ErrHole
	}
	return nil
}
