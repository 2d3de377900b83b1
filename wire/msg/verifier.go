package msg

import (
	"fmt"
	"maps"
	"time"
)

// minSweep is how many edges a Verifier remembers before it looks for those that it may forget.
const minSweep = 256

// Verifier reads announcements of edges, and with a secret only those that an edge has signed, each once. It is not
// safe for concurrent use.
type Verifier struct {
	Secret string // that the edges share; "": every announcement counts

	last    map[string]int64 // the latest time in the announcements of an edge, and in those of its death
	sweepAt int              // how large last may become before it is swept
}

// Read reads an announcement on the subject of an edge and a word. With a secret it must be signed, made within
// MaxClockSkew of now, and later than those before it: who has recorded one cannot use it again. Its errors wrap
// ErrAnnouncement.
func (v *Verifier) Read(edge, word string, body []byte, signature string, now time.Time) (a EdgeAnnouncement, err error) {
	if v.Secret != "" { // before the body is parsed, because anyone may have sent it
		if err := Verify(v.Secret, edge, word, body, signature, now); err != nil {
			return a, err
		}
	}
	if a, err = ParseEdgeAnnouncement(body); err != nil {
		return a, err
	}
	if a.Edge != edge {
		return a, fmt.Errorf("%w: its body names another edge than its subject", ErrAnnouncement)
	}
	if v.Secret != "" && !v.isNew(&a, now) {
		return a, fmt.Errorf("%w: it is not later than the one before it", ErrAnnouncement)
	}
	return a, nil
}

// isNew reports whether an announcement is later than those before it. Deaths are announced by other edges, whose
// clocks differ.
func (v *Verifier) isNew(a *EdgeAnnouncement, now time.Time) bool {
	key := a.Edge
	if a.By != "" {
		key = "gone " + key
	}
	if last, known := v.last[key]; known && a.At <= last {
		return false
	}
	if len(v.last) >= max(v.sweepAt, minSweep) { // those that are too old for Verify
		maps.DeleteFunc(v.last, func(_ string, at int64) bool { return now.Sub(time.UnixMilli(at)) > MaxClockSkew })
		v.sweepAt = 2 * len(v.last)
	}
	if v.last == nil {
		v.last = make(map[string]int64)
	}
	v.last[key] = a.At
	return true
}
