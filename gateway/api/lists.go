package api

import (
	"sync"
	"time"
)

const (
	listFor       = 30 * time.Second // how long ids are kept
	mostListBytes = 32 << 20         // of the ids that are kept; a longer list is asked for with each page
	listedBytes   = 48               // an id, and its place in a slice
)

// lists are ids of sockets that were listed, for the next pages. A list lives for listFor, however often it is used.
type lists struct {
	mu    sync.Mutex
	kept  map[listed][]string // guarded by mu: sorted
	bytes int                 // guarded by mu
}

// listed is what a list is of.
type listed struct {
	holder        *holder
	namespace, to string
}

// of returns the ids of the sockets that a read is about, sorted: those of the first page, if they are still there.
func (l *lists) of(q *request, u *question) ([]string, error) {
	key := listed{q.holder, u.ns.Name(), u.query.Get("to")}
	if u.query.Has("cursor") {
		l.mu.Lock()
		ids, isThere := l.kept[key]
		l.mu.Unlock()
		if isThere {
			return ids, nil
		}
	}
	ids, err := u.target.IDs(q.ctx)
	if err == nil && len(ids) > u.limit {
		l.keep(key, ids)
	}
	return ids, err
}

// keep keeps a list, in place of an older one, if there is room.
func (l *lists) keep(key listed, ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size, before := listedBytes*len(ids), listedBytes*len(l.kept[key])
	if l.bytes-before+size > mostListBytes {
		return // an older list serves the rest of its pages
	}
	l.bytes += size - before
	l.kept[key] = ids
	time.AfterFunc(listFor, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if now := l.kept[key]; len(now) > 0 && &now[0] == &ids[0] { // and no newer one
			l.bytes -= size
			delete(l.kept, key)
		}
	})
}
