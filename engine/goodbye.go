package engine

import (
	"net/http"
	"slices"
	"time"

	"partyline/wire/eio"
)

// A client may send the POST that closes its session and its last poll together, on two connections. The reference
// server answers the poll with a noop if it is first, and two connections have no order. So a session that is closed in
// this way, while no poll waits, still owes its client one answer.
const (
	// owedFor is how long the last poll may come after the POST.
	owedFor = time.Second
	// maxOwed bounds the list. The oldest entry is dropped first.
	maxOwed = 1024
)

// owed lists the closed sessions whose last poll has not come yet, oldest first. Its zero value is empty.
type owed []owedPoll

type owedPoll struct {
	id    string
	until time.Time
}

// add puts a session on the list.
func (o *owed) add(id string, now time.Time) {
	o.expire(now)
	if len(*o) == maxOwed {
		*o = slices.Delete(*o, 0, 1)
	}
	*o = append(*o, owedPoll{id, now.Add(owedFor)})
}

// take removes a session from the list and reports whether it was there.
func (o *owed) take(id string, now time.Time) bool {
	o.expire(now)
	i := slices.IndexFunc(*o, func(p owedPoll) bool { return p.id == id })
	if i < 0 {
		return false
	}
	*o = slices.Delete(*o, i, i+1)
	return true
}

func (o *owed) expire(now time.Time) {
	n := 0
	for n < len(*o) && !now.Before((*o)[n].until) {
		n++
	}
	*o = slices.Delete(*o, 0, n)
}

// owe notes that the client of a session that has just ended may have sent a last poll.
func (s *Server) owe(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed.add(id, time.Now())
}

// serveUnknown answers a request for a session that is not there.
func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request, sid string, isPoll bool) {
	if isPoll && s.owes(sid) {
		s.stats.bytesOut.Add(writePayload(w, r, []*Frame{noopFrame}, false))
		return
	}
	s.refuse(w, eio.UnknownSession, s.isUpgrade(r))
}

func (s *Server) owes(sid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owed.take(sid, time.Now())
}
