package bus

import (
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// maxChunk is how many messages of one namespace are handled before it is another's turn: about a millisecond of work
// in a room of a few hundred.
const maxChunk = 8

// lines hold messages that wait, in one line a namespace. The lines take turns, so a flood in one namespace delays the
// others by a chunk. Within a line messages keep their order, and all that concerns one socket is in one line.
type lines struct {
	capacity int    // messages, of all lines; static
	prefix   string // of the subjects, with a dot; static

	mu      sync.Mutex
	behind  bool             // guarded by mu: all messages go through the lines, until they are empty
	waiting int              // guarded by mu: messages in all lines
	byName  map[string]*line // guarded by mu: lines with messages, by the token of the namespace
	turns   []*line          // guarded by mu: the same, in the order of their turns
	last    *line            // guarded by mu: the one whose messages are being handled
}

// loss is the subscription of what stands in a line where messages were dropped: see Message.Lost.
var loss = new(nats.Subscription)

// line is the messages of one namespace.
type line struct {
	name     string
	messages []*nats.Msg
}

// name returns the line of a subject: its namespace, $edge or $svc, or "" for subjects without the prefix.
func (l *lines) name(subject string) string {
	rest, ok := strings.CutPrefix(subject, l.prefix)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, ".")
	return name
}

// keep moves the messages of a channel to their lines, and returns how many it has dropped. A line may have as many
// messages as all lines together leave free. So one that overflows has half of the capacity, and the other half is
// there for the others. first reports whether the caller must wake Run's goroutine.
func (l *lines) keep(channel chan *nats.Msg) (dropped int, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range len(channel) {
		m := <-channel
		name := l.name(m.Subject)
		one := l.byName[name]
		if one != nil && len(one.messages) >= l.capacity-l.waiting {
			if dropped++; one.messages[len(one.messages)-1].Sub != loss {
				one.messages = append(one.messages, &nats.Msg{Subject: m.Subject, Sub: loss})
			}
			continue
		}
		if one == nil {
			one = &line{name: name}
			l.byName[name] = one
			l.turns = append(l.turns, one)
		}
		one.messages = append(one.messages, m)
		l.waiting++
	}
	first, l.behind = !l.behind, true
	return dropped, first
}

// take moves the first messages of the line whose turn it is to chunk. It returns how many, and whether another line
// waits. If there are none, messages need not go through the lines any more.
func (l *lines) take(chunk []*nats.Msg) (n int, others bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.turns) == 0 {
		l.behind, l.last = false, nil
		return 0, false
	}
	one := l.turns[0]
	l.turns = l.turns[1:]
	l.last = one
	n = copy(chunk, one.messages)
	for _, m := range chunk[:n] {
		if m.Sub != loss {
			l.waiting--
		}
	}
	clear(one.messages[:n])
	if one.messages = one.messages[n:]; len(one.messages) == 0 {
		delete(l.byName, one.name)
		return n, len(l.turns) > 0
	}
	l.turns = append(l.turns, one)
	return n, len(l.turns) > 1
}

// isBehind reports whether messages must go through the lines. It becomes true only by keep.
func (l *lines) isBehind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.behind
}

// isUrgent reports whether another line waits than the one whose messages are being handled, or more than a quarter of
// the capacity is in use.
func (l *lines) isUrgent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting > l.capacity/4 || len(l.turns) > 1 || len(l.turns) == 1 && l.turns[0] != l.last
}

// count is how many messages wait.
func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}
