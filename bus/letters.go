package bus

import "sync/atomic"

// What waits to be published, at the most. Answers and notices have bounds of their own: a storm of answers must not
// displace the word that a socket has gone. An edge may wait for 262,144 acks, which may all come at once, beside answers to
// commands. A notice is a few hundred bytes.
const (
	maxAnswers     = 1 << 19
	maxAnswerBytes = 128 << 20
	maxNotices     = 100_000
	maxNoticeBytes = 64 << 20
)

// Kinds of what may be dropped before it is published.
const (
	unsentAnswer       = iota // dropped while NATS is away: nobody waits for it any more
	unsentNotice              // kept while NATS is away
	unsentConfirmation        // a callback of WhenHeld
	unsentKinds
)

var unsentNames = [unsentKinds]string{"answer", "notice", "confirmation"}

// letter is a message that the worker publishes.
type letter struct {
	subject, reply string
	header         Header
	body           []byte
	keep           bool // worth sending when NATS is back
}

func (l *letter) size() int {
	size := len(l.subject) + len(l.reply) + len(l.body)
	for name, values := range l.header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	return size
}

func kindOf(keep bool) int {
	if keep {
		return unsentNotice
	}
	return unsentAnswer
}

// backlog is how much of one kind waits.
type backlog struct{ letters, bytes atomic.Int64 }

func (b *backlog) add(letters, bytes int) {
	b.letters.Add(int64(letters))
	b.bytes.Add(int64(bytes))
}

// hasRoom reports whether a letter of so many bytes may wait, too.
func (b *backlog) hasRoom(keep bool, bytes int) bool {
	most, mostBytes := int64(maxAnswers), int64(maxAnswerBytes)
	if keep {
		most, mostBytes = maxNotices, maxNoticeBytes
	}
	return b.letters.Load() < most && b.bytes.Load()+int64(bytes) <= mostBytes
}

// Later publishes from the bus's worker, for callers that must not wait, in the order of the calls. Without a connection
// the message is dropped and counted, unless keep is set: then it is a notice, and kept until NATS is back. At most 524,288
// answers and 100,000 notices wait, of 128 and 64 MiB. What comes on top is dropped and counted. The bus owns header and
// body from now on.
func (b *Bus) Later(subject, reply string, header Header, body []byte, keep bool) {
	w := b.work
	l := letter{subject, reply, header, body, keep}
	kind, size := kindOf(keep), l.size()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.backlog[kind].hasRoom(keep, size) {
		b.stats.unsent[kind].Inc()
		return
	}
	w.backlog[kind].add(1, size)
	w.letters = append(w.letters, l)
	w.nudge()
}

// Waiting is how many answers of Later wait to be published.
func (b *Bus) Waiting() int { return int(b.work.backlog[unsentAnswer].letters.Load()) }

// publish sends the letters; without a connection it only drops those that would come too late.
func (w *worker) publish(connected bool) {
	w.mu.Lock()
	letters := w.letters
	w.letters = nil
	w.mu.Unlock()
	var kept []letter
	for _, l := range letters {
		kind, size := kindOf(l.keep), l.size()
		if !l.keep { // before it is sent: who has the answer may ask again
			w.backlog[kind].add(-1, -size)
		}
		err := ErrOffline
		if connected {
			err = w.bus.PublishWithHeader([]byte(l.subject), []byte(l.reply), l.header, l.body)
		}
		if err == ErrOffline && l.keep {
			kept = append(kept, l)
			continue
		}
		if l.keep {
			w.backlog[kind].add(-1, -size)
		}
		if err != nil {
			w.bus.stats.unsent[kind].Inc()
			if err != ErrOffline {
				w.bus.complaints.Warn("an answer could not be published", l.subject, err)
			}
		}
	}
	if len(kept) > 0 {
		w.mu.Lock()
		w.letters = append(kept, w.letters...)
		w.mu.Unlock()
	}
}
