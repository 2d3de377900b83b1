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

// endReading ends the reading of a room, if that is over.
func (t *Table) endReading(r *room, now time.Time) {
	if r.Keep(t.edges.Live); r.token == "" {
		return
	}
	isLate := now.After(r.until)
	isDone := r.Answered(t.edges.Live, isLate)
	if !isDone && !isLate {
		return
	}
	if !isDone {
		t.stats.unread.Inc()
		t.due[r] = true
	}
	delete(t.readings, r.token)
	r.token, r.isRead = "", true
}

// readDue asks all edges who is in the rooms that must be read.
func (t *Table) readDue(now time.Time) {
	for r := range t.due {
		if len(t.readings) == maxReadings {
			return
		}
		if r.token != "" {
			continue // read once more when that is over
		}
		delete(t.due, r)
		t.stats.read.Inc()
		r.token, r.until = rand.Text(), now.Add(readTimeout)
		r.Room.Ask()
		t.readings[r.token], t.changed[r] = r, true
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
