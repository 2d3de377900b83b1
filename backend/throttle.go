package backend

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/wake"
	"partyline/subjects"
	"partyline/wire/msg"
)

// A socket whose handlers do not keep up is paused: its edge holds what its client sends, and then stops reading from
// it, so that the client itself is slowed down (docs/subjects.md, Pausing a client).
const (
	// repeatPause is how often a pause is repeated.
	repeatPause = 2 * time.Second
	// pauseLasts is when an edge forgets a pause that is not repeated: this process was stopped, or NATS was away.
	pauseLasts = 5 * time.Second
	// pauseGrace is how long a pause may take to have an effect. A lane with more than twice its bound is flooded only
	// after it.
	pauseGrace = 2 * time.Second
	// throttleEvery is how often pauses are checked.
	throttleEvery = 500 * time.Millisecond
)

// pauser is how lanes reach the edges. Its methods are called without a lock of lanes; but for flooded, by one
// goroutine at a time.
type pauser interface {
	// pause asks a socket's edge to pause it, for an instance or, if that is "", the one that this process is now. It
	// returns the instance, or "" if the request could not be sent.
	pause(key laneKey, instance string) string
	// resume ends that.
	resume(key laneKey, instance string)
	// watch is called every throttleEvery while sockets are paused, with how many have been so for a long time.
	watch(slow int, example laneKey)
	// flooded is called for a lane whose events were dropped. It must not block.
	flooded(key laneKey, events, bytes int)
}

// throttled are the sockets that are paused, or must be resumed.
type throttled struct {
	edges   pauser
	drop    func(laneKey)   // called without mu for a socket whose edge does not confirm its pause
	running *sync.WaitGroup // of lanes
	wake    wake.Flag       // wakes speak
	ended   chan struct{}   // closed when lanes stop

	mu       sync.Mutex
	sockets  map[laneKey]*pausing // guarded by mu
	changed  []laneKey            // guarded by mu: those whose edge must be notified
	speaking bool                 // guarded by mu: a goroutine runs speak
}

// pausing is the pause of one socket.
type pausing struct {
	wanted    bool      // guarded by throttled.mu: the socket is to be paused
	since     time.Time // guarded by throttled.mu: since when
	confirmed time.Time // guarded by throttled.mu: when the edge answered for the first time that it is; zero before
	heard     time.Time // guarded by throttled.mu: when it answered last, or since if it never did
	instance  string    // owned by the goroutine of speak: in whose name it is paused; "" while it is not
	sent      time.Time // owned by the goroutine of speak: when the pause was last sent
}

// set pauses or resumes a socket. It passes the change to the goroutine of speak, which runs while sockets are paused.
func (t *throttled) set(key laneKey, paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.sockets[key]
	if p == nil {
		p = &pausing{}
		t.sockets[key] = p
	}
	if p.wanted = paused; paused {
		if p.since = time.Now(); p.confirmed.IsZero() {
			p.heard = p.since
		}
	}
	t.changed = append(t.changed, key)
	if !t.speaking {
		t.speaking = true
		t.running.Go(t.speak)
		return
	}
	t.wake.Raise()
}

// confirm notes that an edge has paused a socket.
func (t *throttled) confirm(key laneKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.sockets[key]; p != nil && p.wanted {
		if p.heard = time.Now(); p.confirmed.IsZero() {
			p.confirmed = p.heard
		}
	}
}

// hasNoEffect reports whether the pause of a socket, of which more has come, does not help: the edge does not confirm
// it, or confirmed it pauseGrace ago. Events that the edge published earlier come before its answer. However many
// they are, they cost no client its connection.
func (t *throttled) hasNoEffect(key laneKey, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.sockets[key]
	if now.Sub(p.heard) > pauseLasts { // the edge has forgotten the pause, and is asked for a new one
		p.since, p.confirmed, p.heard = now, time.Time{}, now
	}
	return now.Sub(cmp.Or(p.confirmed, p.since)) >= pauseGrace
}

// speak sends pauses and resumes to edges, in the order in which they were decided. It ends when no socket is paused.
func (t *throttled) speak() {
	ticker := time.NewTicker(throttleEvery)
	defer ticker.Stop()
	all := false
	for {
		due, unconfirmed, more := t.due(all, time.Now())
		for _, w := range due {
			if p := w.pausing; w.pause {
				p.instance, p.sent = t.edges.pause(w.key, p.instance), time.Now()
			} else {
				t.edges.resume(w.key, p.instance)
			}
		}
		for _, key := range unconfirmed {
			t.drop(key)
		}
		if !more {
			t.edges.watch(0, laneKey{})
			return
		}
		select {
		case <-t.wake:
			all = false
		case <-ticker.C:
			all = true
			t.edges.watch(t.paused(10 * time.Second))
		case <-t.ended:
			return
		}
	}
}

// laneWord is a pause or a resume to be sent.
type laneWord struct {
	key     laneKey
	pausing *pausing
	pause   bool
}

// due returns what must be sent now, for the sockets whose state has changed, or for all. Of all, unconfirmed are
// those whose edge should have confirmed the pause. If more is false, the calling goroutine may end.
func (t *throttled) due(all bool, now time.Time) (due []laneWord, unconfirmed []laneKey, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := t.changed
	if all {
		keys = slices.Collect(maps.Keys(t.sockets))
	}
	for _, key := range keys {
		p := t.sockets[key]
		switch {
		case p == nil: // done already
		case p.wanted && (p.instance == "" || now.Sub(p.sent) >= repeatPause):
			due = append(due, laneWord{key, p, true})
		case !p.wanted:
			delete(t.sockets, key)
			if p.instance != "" {
				due = append(due, laneWord{key, p, false})
			}
		}
		if all && p.wanted && p.confirmed.IsZero() && now.Sub(p.since) >= pauseGrace {
			unconfirmed = append(unconfirmed, key)
		}
	}
	t.changed = t.changed[:0]
	// Not before all has been sent: another goroutine could overtake this one.
	more = len(t.sockets) > 0 || len(due) > 0
	t.speaking = more
	return due, unconfirmed, more
}

// paused returns how many sockets have been paused for so long, and one of them.
func (t *throttled) paused(atLeast time.Duration) (n int, example laneKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.sockets {
		if p.wanted && time.Since(p.since) >= atLeast {
			n, example = n+1, key
		}
	}
	return n, example
}

// pauses asks edges to pause the sockets whose handlers do not keep up. Its methods are called by the goroutine of
// throttled.speak, except flooded and listen.
type pauses struct {
	*connection
	*reports
	name  func() string // of this instance
	inbox string        // where edges answer; set by listen, then constant

	seen error // NATS's last error that was looked at
}

// pause asks a socket's edge to hold what its client sends; see pauser.
func (p *pauses) pause(key laneKey, instance string) string {
	repeated := instance != ""
	if !repeated {
		instance = p.name()
	}
	if p.say(key, subjects.VerbPause, instance) != nil {
		return "" // NATS is away: it is tried again
	}
	if !repeated {
		p.stats.pauses.Add(1)
	}
	return instance
}

// resume ends the pause of an instance.
func (p *pauses) resume(key laneKey, instance string) {
	_ = p.say(key, subjects.VerbResume, instance) // without it, the pause ends after pauseLasts
}

// say publishes a pause or resume.
func (p *pauses) say(key laneKey, verb, instance string) error {
	subject := p.prefix.AppendToSocket(nil, key.namespace, verb, key.who)
	m := &nats.Msg{Subject: string(subject), Data: msg.InstanceBody(instance)}
	if verb == subjects.VerbPause {
		m.Reply = p.inbox + "." + key.namespace + "." + key.who
	}
	return p.publish(m)
}

// listen subscribes to the edges' answers. confirm is called for each socket that an edge has paused.
func (p *pauses) listen(list *subscriptions, confirm func(laneKey)) error {
	p.inbox = p.nc.NewInbox()
	return list.add(p.connection, func(m *nats.Msg) {
		namespace, socket, _ := strings.Cut(strings.TrimPrefix(m.Subject, p.inbox+"."), ".")
		if len(m.Data) > 0 && m.Header.Get(msg.HeaderError) == "" { // else the edge or the socket is not there
			confirm(laneKey{namespace, socket})
		}
	}, interest{p.inbox + ".>", ""})
}

// watch logs what is wrong with the sockets that are paused. A publish that NATS refused shows only as the last error
// of the connection, whose error handler is the caller's.
func (p *pauses) watch(slow int, example laneKey) {
	if err := p.nc.LastError(); err != nil && err != p.seen {
		p.seen = err
		if isRefusedPause(err) {
			p.complaints.Log(slog.LevelError, "NATS does not permit this service to pause sockets, so a burst of events closes its client's "+
				"connection; allow it to publish pause and resume (docs/subjects.md, Permissions)", "", "", "error", err)
		}
	}
	if slow > 0 {
		p.complaints.Log(slog.LevelWarn, "sockets have been paused for ten seconds or more: their handlers do not keep up, or one blocks",
			"", "", "sockets", slow, "namespace", example.namespace, "socket", example.who)
	}
}

// flooded closes the transport of a socket whose handlers do not keep up, though it was paused. Its client comes back
// by itself.
func (p *pauses) flooded(key laneKey, events, bytes int) {
	p.stats.overflows.Add(1)
	if !subjects.IsSocketID(key.who) {
		p.complaints.Log(slog.LevelError, "events of another service are thrown away: their handlers do not keep up",
			key.namespace, "", "namespace", key.namespace, "from", key.who, "events", events, "bytes", bytes)
		return
	}
	p.complaints.Log(slog.LevelError,
		"a client's connection is closed: its handlers do not keep up, or one blocks, and pausing it did not help", key.namespace, "",
		"namespace", key.namespace, "socket", key.who, "events", events, "bytes", bytes)
	subject := p.prefix.AppendToSocket(nil, key.namespace, subjects.VerbDisconnect, key.who)
	if err := p.publish(&nats.Msg{Subject: string(subject), Data: []byte(`["close"]`)}); err != nil {
		p.complaints.Log(slog.LevelError, "a client's connection could not be closed", "", err.Error(), "socket", key.who, "error", err)
	}
}

// isRefusedPause reports whether NATS refused a pause or resume.
func isRefusedPause(err error) bool {
	text := err.Error()
	return errors.Is(err, nats.ErrPermissionViolation) &&
		(strings.Contains(text, "."+subjects.VerbPause+".socket.") || strings.Contains(text, "."+subjects.VerbResume+".socket."))
}
