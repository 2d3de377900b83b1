package backend

import (
	"maps"
	"sync"
	"time"
)

// recent remembers for a moment which sockets were admitted: an edge asks again when an instance leaves meanwhile.
type recent struct {
	mu  sync.Mutex
	ids map[string]time.Time // guarded by mu
}

const (
	rememberAdmitted = 10 * time.Second
	mostRemembered   = 100_000
)

// first notes a socket, and tells whether it is new.
func (r *recent) first(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, known := r.ids[id]; known && now.Sub(at) < rememberAdmitted {
		return false
	}
	if r.ids == nil || len(r.ids) >= mostRemembered {
		r.ids = make(map[string]time.Time)
	}
	r.ids[id] = now
	return true
}

// drop forgets a socket that was not admitted after all, and may be asked about again.
func (r *recent) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, id)
}

// forget drops who was admitted long ago.
func (r *recent) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.ids, func(_ string, at time.Time) bool { return now.Sub(at) >= rememberAdmitted })
}
