// Package judge computes from the log of a namespace what each client must have received, and compares it with what
// the client recorded. It shares no code with the edges.
package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Pos is a position in the log. Era counts the streams: a stream that was deleted and made again is the next one.
type Pos struct {
	Era int
	Seq uint64
}

// Compare orders positions.
func (p Pos) Compare(q Pos) int { return cmp.Or(cmp.Compare(p.Era, q.Era), cmp.Compare(p.Seq, q.Seq)) }

func (p Pos) after(q Pos) bool { return p.Compare(q) > 0 }

// Never is a position behind all others.
var Never = Pos{Era: 1 << 30}

// Entry is an event in the log. One of Room, Socket and All says for whom it is.
type Entry struct {
	Pos
	ID           string // names the event, in its body
	Room, Socket string
	All          bool
	Rooms        []string // of Sio-Rooms: only those
	Except       []string // of Sio-Except
	Volatile     bool     // may be lost
}

// Log is the events of one namespace in their order.
type Log struct {
	Epochs  []string // the first part of offsets, by era
	Entries []Entry  // sorted by position

	byPos    map[Pos]int     // built by the first use
	byID     map[string]int  // the same
	volatile map[string]bool // of all that was read, by ID; the same
	ends     []uint64        // the last known sequence, by era; the same
}

// Span is the membership of a room. The exact borders are unknown to an observer: the socket surely is a member in
// (SureFrom, SureTo], and surely is none outside of (From, To].
type Span struct {
	Room           string
	From, SureFrom Pos
	SureTo, To     Pos
}

// Got is an event that a client received.
type Got struct {
	ID     string
	Offset string // as received
	Live   bool   // it was sent beside the log: its offset is only a position
}

// Stray is an event that came over a connection after the client had come back over another one.
type Stray struct {
	Offset string
	Before int // index in Session.Got of the first event that came after the CONNECT of the newer connection
}

// Session is one socket id of a client, over all connections that recovered it.
type Session struct {
	Client, ID string
	SureFrom   Pos  // events behind it must be there
	Ended      bool // a later session of the client exists: only what lies before the newest received event must be there
	Rooms      []Span
	Got        []Got
	Strays     []Stray
}

// Verdict counts what is wrong with sessions.
type Verdict struct {
	Expected  int // events that had to be there
	Received  int
	Lost      int
	Doubled   int
	Reordered int // an earlier event of the log came after a later one
	Foreign   int // events that were for others, or are in no log
	Offsets   int // events with an offset that is not theirs
	Strays    int // events that the former holder of a session sent after the session was recovered elsewhere
	Late      int // events behind later ones, with the position of those: as it must be if the log has got another leader

	Examples []string // the first of each kind for each session
}

// OK reports whether nothing is wrong.
func (v *Verdict) OK() bool {
	return v.Lost+v.Doubled+v.Reordered+v.Foreign+v.Offsets+v.Strays == 0
}

func (v *Verdict) String() string {
	return fmt.Sprintf("%d of %d events: %d lost, %d doubled, %d reordered, %d foreign, %d wrong offsets, %d strays, %d late",
		v.Received, v.Expected, v.Lost, v.Doubled, v.Reordered, v.Foreign, v.Offsets, v.Strays, v.Late)
}

// Add adds another verdict.
func (v *Verdict) Add(o *Verdict) {
	v.Expected += o.Expected
	v.Received += o.Received
	v.Lost += o.Lost
	v.Doubled += o.Doubled
	v.Reordered += o.Reordered
	v.Foreign += o.Foreign
	v.Offsets += o.Offsets
	v.Strays += o.Strays
	v.Late += o.Late
	v.Examples = append(v.Examples, o.Examples...)
}

// at returns the index of the entry at a position.
func (l *Log) at(p Pos) (int, bool) {
	l.index()
	i, ok := l.byPos[p]
	return i, ok
}

func (l *Log) index() {
	if l.byPos != nil {
		return
	}
	l.byPos, l.byID, l.volatile = make(map[Pos]int, len(l.Entries)), make(map[string]int, len(l.Entries)), make(map[string]bool)
	l.ends = make([]uint64, len(l.Epochs))
	for i, e := range l.Entries {
		l.ends[e.Era] = e.Seq
		l.byPos[e.Pos], l.byID[e.ID] = i, i
		l.volatile[e.ID] = e.Volatile
	}
}

// Parse reads an offset: `<epoch>:<sequence, base 36>`.
func (l *Log) Parse(offset string) (Pos, bool) {
	const epochSize = 5
	if len(offset) < epochSize+2 || offset[epochSize] != ':' {
		return Pos{}, false
	}
	era := slices.Index(l.Epochs, offset[:epochSize])
	text := offset[epochSize+1:]
	seq, err := strconv.ParseUint(text, 36, 64)
	return Pos{era, seq}, era >= 0 && err == nil && strconv.FormatUint(seq, 36) == text
}

// Offset writes a position as the offset of an event.
func (l *Log) Offset(p Pos) string { return l.Epochs[p.Era] + ":" + strconv.FormatUint(p.Seq, 36) }

// Judge compares one session with the log.
func (l *Log) Judge(s *Session) *Verdict {
	j := &judging{Log: l, Session: s, seen: make(map[int]bool), told: make(map[string]bool)}
	j.v.Received = len(s.Got)
	for i, g := range s.Got {
		j.received(i, g)
	}
	j.missing()
	for _, stray := range s.Strays {
		j.stray(stray)
	}
	return &j.v
}

// judging is the work on one session.
type judging struct {
	*Log
	*Session
	v      Verdict
	seen   map[int]bool // indexes of entries that were received
	newest Pos          // of what was received
	told   map[string]bool
}

// wrong counts, and keeps the first of a kind as an example.
func (j *judging) wrong(count *int, kind, format string, args ...any) {
	*count++
	if !j.told[kind] {
		j.told[kind] = true
		j.v.Examples = append(j.v.Examples, fmt.Sprintf("%s %s: %s: ", j.Client, j.ID, kind)+fmt.Sprintf(format, args...))
	}
}

func (j *judging) received(i int, g Got) {
	j.index()
	if volatile, known := j.volatile[g.ID]; g.Offset == "" && (volatile || !known && len(j.Epochs) > 1) {
		return // it needs none, unless its last argument is a string
	}
	pos, ok := j.Parse(g.Offset)
	if !ok {
		j.wrong(&j.v.Offsets, "offset", "event %d, %s, has the offset %q", i, g.ID, g.Offset)
		return
	}
	if g.Live { // its position promises that all before it was received, and nothing behind it
		if j.newest.after(pos) {
			j.wrong(&j.v.Offsets, "position", "event %d, %s, has the position %v behind %v", i, g.ID, pos, j.newest)
		}
		j.newest = later(j.newest, pos)
		return
	}
	at, known := j.at(pos)
	if i, ok := j.byID[g.ID]; ok && pos.after(j.Entries[i].Pos) && !j.newest.after(pos) && (pos.Seq <= j.ends[pos.Era] || j.isUnread(pos)) {
		j.v.Late++
		at, known = i, true
	}
	switch {
	case !known && !j.isUnread(pos):
		j.wrong(&j.v.Foreign, "unknown", "event %d, %s, at %v is not in the log", i, g.ID, pos)
		return
	case known && j.Entries[at].ID != g.ID:
		j.wrong(&j.v.Offsets, "offset", "event %d, %s, has the offset of %s: %v", i, g.ID, j.Entries[at].ID, pos)
		return
	case known && j.seen[at]:
		j.wrong(&j.v.Doubled, "doubled", "event %d, %s, at %v", i, g.ID, pos)
		return
	case !pos.after(j.newest) && (!known || j.Entries[at].Pos == pos):
		j.wrong(&j.v.Reordered, "reordered", "event %d, %s, at %v came after %v", i, g.ID, pos, j.newest)
	}
	j.newest = later(j.newest, pos)
	if !known {
		return
	}
	if j.seen[at] = true; j.forSession(&j.Entries[at]) == no {
		j.wrong(&j.v.Foreign, "foreign", "event %d, %s, at %v was not for it", i, g.ID, pos)
	}
}

// isUnread reports whether a position is behind all that was read of a stream that was deleted.
func (j *judging) isUnread(p Pos) bool { return p.Era < len(j.Epochs)-1 && p.Seq > j.ends[p.Era] }

// missing finds the entries that should have been received.
func (j *judging) missing() {
	var newest Pos // of what is lost
	for i := range j.Entries {
		e := &j.Entries[i]
		if e.Volatile || !e.after(j.SureFrom) || j.Ended && e.after(j.newest) || j.forSession(e) != yes {
			continue
		}
		if j.v.Expected++; !j.seen[i] {
			newest = e.Pos
			j.wrong(&j.v.Lost, "lost", "%s at %v, to room %q, rooms %q without %q; the newest received is %v", e.ID, e.Pos, e.Room, e.Rooms, e.Except, j.newest)
		}
	}
	if j.v.Lost > 1 {
		j.v.Examples = append(j.v.Examples, fmt.Sprintf("%s %s: %d lost, the last at %v", j.Client, j.ID, j.v.Lost, newest))
	}
}

// stray judges what came over an old connection: it must be older than what came over the next one since its CONNECT.
// The former holder of a session stays silent from before the CONNECT on.
func (j *judging) stray(s Stray) {
	pos, ok := j.Parse(s.Offset)
	if !ok {
		return
	}
	for _, g := range j.Got[min(s.Before, len(j.Got)):] {
		first, ok := j.Parse(g.Offset)
		if !ok || g.Live {
			continue
		}
		if pos.Compare(first) >= 0 {
			j.wrong(&j.v.Strays, "stray", "%v came over the old connection, though the new one received %v after its CONNECT", pos, first)
		}
		return
	}
}

func later(p, q Pos) Pos {
	if q.after(p) {
		return q
	}
	return p
}

// answer is what an observer can say.
type answer int

const (
	no answer = iota
	maybe
	yes
)

// forSession reports whether an entry is for the session.
func (j *judging) forSession(e *Entry) answer {
	in := no
	switch {
	case e.Socket != "":
		if e.Socket == j.ID {
			in = yes
		}
	case e.Room != "":
		in = j.member(e.Room, e.Pos)
	case len(e.Rooms) > 0:
		for _, room := range e.Rooms {
			in = max(in, j.names(room, e.Pos))
		}
	default:
		in = yes
	}
	for _, room := range e.Except {
		in = min(in, yes-j.names(room, e.Pos))
	}
	return in
}

// names reports whether a name in a header, a room's or a socket's id, means the session.
func (j *judging) names(name string, at Pos) answer {
	if name == j.ID {
		return yes
	}
	return j.member(name, at)
}

func (j *judging) member(room string, at Pos) (in answer) {
	for _, s := range j.Rooms {
		switch {
		case s.Room != room:
		case at.after(s.SureFrom) && !at.after(s.SureTo):
			return yes
		case at.after(s.From) && !at.after(s.To):
			in = maybe
		}
	}
	return in
}
