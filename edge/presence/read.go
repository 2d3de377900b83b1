package presence

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"partyline/internal/members"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// readTimeout is how long edges may take to answer.
	readTimeout = 5 * time.Second
	// maxReadings is how many rooms are read at once.
	maxReadings = 64
)

// reading is a question to all edges who is in a room.
type reading struct {
	isDue, isRead bool
	token         string // the end of the reply subject; "": there is none under way
	until         time.Time
}

// read asks all edges who is in a room, if that is due.
func (t *Table) read(r *room, now time.Time) {
	r.Keep(t.live)
	if r.token != "" {
		isLate := now.After(r.until)
		isDone := r.Answered(t.live, isLate)
		if !isDone && !isLate {
			return
		}
		if !isDone {
			t.stats.unread.Inc()
			r.isDue = true
		}
		delete(t.readings, r.token)
		r.token, r.isRead = "", true
	}
	if r.isDue && len(t.readings) < maxReadings {
		t.stats.read.Inc()
		r.reading = reading{isRead: r.isRead, token: rand.Text(), until: now.Add(readTimeout)}
		r.Room.Ask()
		t.readings[r.token] = r
		t.wire.Read(r.Place, subjects.MemberAnswers(t.edge)+r.token)
	}
}

// Answered takes an edge's answer, or a part of it, to a question of this edge, and reports whether it was one. The NATS
// reader calls it. An error is no answer: the edge is asked again. t may be nil.
func (t *Table) Answered(subject, part string, body []byte) bool {
	if t == nil {
		return false
	}
	token, isAnswer := strings.CutPrefix(subject, subjects.MemberAnswers(t.edge))
	r := t.readings[token]
	if r == nil {
		return isAnswer
	}
	a, err := msg.ParseAnswer(body)
	if err != nil {
		return true
	}
	var sockets []msg.Present
	for _, element := range a.Rest {
		var s msg.FetchedSocket
		if json.Unmarshal(element, &s) == nil {
			sockets = append(sockets, members.Shown(r.rules, s.ID, s.User, s.Data))
		}
	}
	r.Answer(a.Edge, sockets, msg.IsLastPart(part))
	return true
}
