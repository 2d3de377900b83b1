package eventlog

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// A page of the log. Whole pages without a filter cost a server least: it neither matches nor counts subjects.
const (
	pageMessages = 1000
	pageBytes    = 4 << 20
	pageTimeout  = 3 * time.Second
)

// The wait for a server that has not got the end of a scan yet.
const (
	behindTimeout = 5 * time.Second
	behindPause   = 2 * time.Millisecond // doubles up to behindLongest
	behindLongest = 100 * time.Millisecond
)

// Headers of messages that are read from a stream. A publisher's own headers of these names come before the server's,
// so only the last of each counts.
const (
	headerStream   = "Nats-Stream"
	headerSubject  = "Nats-Subject"
	headerSequence = "Nats-Sequence"
	headerTime     = "Nats-Time-Stamp"
	headerStatus   = "Status"
)

// The values of headerStatus.
const (
	statusEnd          = "204"
	statusNoMessage    = "404"
	statusNoResponders = "503"
)

// Entry is one message of the log. It may be kept, but not changed.
type Entry struct {
	Seq     uint64
	Subject string
	Header  map[string][]string // as published, with the server's Nats-… headers behind
	Data    []byte
	Time    time.Time // when it was stored, by the clock of NATS
	Frame   any       // for the reader: what it makes of the message, for all scans
}

// Scan is a request for a part of the log. Each and Done run on the log's goroutine for reading; they must not block.
type Scan struct {
	From, To uint64    // From < Seq <= To
	For      *Receiver // whose events are read; nil: all messages
	// Each is called for each message, in order.
	Each func(*Entry)
	// Done is called once, at the end. first is at most From+1 if nothing is missing in the log. Else it is the first
	// sequence since which nothing is missing: the log has dropped older messages, all stored before the message
	// first. After an error Each was called for a part only.
	Done func(first uint64, err error)

	first  uint64
	oldest time.Time // when first was stored, if something is missing
	last   uint64    // the latest that Each got
}

// reader reads for all scans on one goroutine.
type reader struct {
	log   *Log
	queue queue[*Scan]
	inbox string
	pages int // requests so far; of run's goroutine
}

func newReader(l *Log) *reader {
	return &reader{log: l, queue: newQueue[*Scan](), inbox: l.set.Conn.NewInbox() + "."}
}

// Read reads a part of the log. It never blocks. Scans that wait at the same time are read in one pass.
func (l *Log) Read(s Scan) {
	s.first = s.From + 1
	if !l.reader.queue.add(&s) {
		s.Done(s.first, ErrEnded)
	}
}

func (r *reader) run(ctx context.Context) {
	// A channel, since nats.go takes stored messages with a forged status for the server's own when they come to other
	// kinds of subscriptions.
	messages := make(chan *nats.Msg, 4*pageMessages)
	sub, err := r.log.set.Conn.ChanSubscribe(r.inbox+"*", messages)
	if err != nil { // the connection is closed
		r.log.complaints.Warn("cannot receive from JetStream", r.log.Stream(), err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-r.queue.wake:
			p := &pass{reader: r, messages: messages, active: r.queue.take(math.MaxInt)}
			p.run(ctx)
		case <-ctx.Done():
			for _, s := range r.queue.end() {
				r.done(s, ErrEnded)
			}
			return
		}
	}
}

// done ends a scan.
func (r *reader) done(s *Scan, err error) {
	r.log.stats.scans.Inc()
	if err != nil {
		r.log.stats.scansFailed.Inc()
	}
	if err == nil {
		err = s.hole()
	}
	s.Done(s.first, err)
}

// pass reads the log once, for some scans.
type pass struct {
	reader   *reader
	messages chan *nats.Msg
	active   []*Scan
	index    *index
	next     uint64 // the first sequence that was not read yet
	until    uint64 // where the next scan ends
}

// run reads until all scans have ended. Replicas lag behind the leader, so what a page lacks is asked for again.
func (p *pass) run(ctx context.Context) {
	for _, s := range p.active {
		if p.next == 0 || s.From < p.next {
			p.next = s.From + 1
		}
	}
	p.index = newIndex(p.active)
	p.finish(func(s *Scan) bool { return s.From >= s.To }, nil)
	wait, end := behindPause, time.Now().Add(behindTimeout)
	for len(p.active) > 0 {
		before := p.next
		err := p.page(ctx)
		switch {
		case ctx.Err() != nil:
			p.finish(func(*Scan) bool { return true }, ErrEnded)
			return
		case p.next > before:
			wait, end = behindPause, time.Now().Add(behindTimeout)
			continue
		case time.Now().After(end):
			p.reader.log.Doubt()
			if err == nil {
				err = fmt.Errorf("%w: no server has had sequence %d of stream %s for %s", ErrBehind, p.next, p.reader.log.Stream(), behindTimeout)
			}
			p.reader.log.complaints.Warn("a scan of the log was given up", p.reader.log.Stream(), err)
			p.finish(func(*Scan) bool { return true }, err)
			return
		}
		pause(ctx, wait, nil)
		wait = min(2*wait, behindLongest)
	}
}

// finish ends the active scans that match.
func (p *pass) finish(matches func(*Scan) bool, err error) {
	p.active = slices.DeleteFunc(p.active, func(s *Scan) bool {
		ends := matches(s)
		if ends {
			p.reader.done(s, err)
		}
		return ends
	})
	p.until = math.MaxUint64
	for _, s := range p.active {
		p.until = min(p.until, s.To)
	}
}

// page requests the messages from p.next on and handles them.
func (p *pass) page(ctx context.Context) error {
	r := p.reader
	r.pages++
	r.log.stats.pages.Inc()
	reply := r.inbox + strconv.Itoa(r.pages)
	var to uint64
	for _, s := range p.active {
		to = max(to, s.To)
	}
	batch := min(pageMessages, to-p.next+1)
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, p.next, batch, pageBytes)
	if err := r.log.set.Conn.PublishRequest("$JS.API.DIRECT.GET."+r.log.Stream(), reply, request); err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	timeout := time.NewTimer(pageTimeout)
	defer timeout.Stop()
	for len(p.active) > 0 {
		select {
		case m := <-p.messages:
			if m.Subject != reply {
				continue // of a page that was given up
			}
			if end, err := p.handle(m); end {
				return err
			}
		case <-timeout.C:
			return fmt.Errorf("%w: a page of stream %s did not come within %s", ErrAway, r.log.Stream(), pageTimeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// handle handles a message of a page. It reports whether the page ends.
func (p *pass) handle(m *nats.Msg) (end bool, err error) {
	l := p.reader.log
	if e := l.entry(m); e != nil {
		p.entry(e)
		return false, nil
	}
	switch status := last(m.Header, headerStatus); status {
	case statusEnd, statusNoMessage:
		return true, nil
	case statusNoResponders:
		l.Doubt()
		return true, fmt.Errorf("%w: no server has stream %s", ErrAway, l.Stream())
	case "":
		p.next++ // a message whose headers cannot be read. Edges cannot read its live copy either.
		return false, nil
	default:
		return true, fmt.Errorf("stream %s cannot be read: %s %s", l.Stream(), status, last(m.Header, "Description"))
	}
}

// entry hands a message to the scans it is for.
func (p *pass) entry(e *Entry) {
	if e.Seq < p.next {
		return
	}
	p.reader.log.stats.entries.Inc()
	if e.Seq > p.next { // what is between is missing
		for _, s := range p.active {
			if e.Seq > s.first && p.next <= s.To {
				s.first, s.oldest = e.Seq, e.Time
			}
		}
	}
	p.index.hand(e, p.reader.log.set.Prefix)
	p.next = e.Seq + 1
	if e.Seq >= p.until {
		p.finish(func(s *Scan) bool { return e.Seq >= s.To }, nil)
	}
}

// entry returns the message of the log that an answer has, or nil.
func (l *Log) entry(m *nats.Msg) *Entry {
	seq, err := strconv.ParseUint(last(m.Header, headerSequence), 10, 64)
	if err != nil || last(m.Header, headerStream) != l.Stream() {
		return nil
	}
	stored, _ := time.Parse(time.RFC3339Nano, last(m.Header, headerTime))
	return &Entry{Seq: seq, Subject: last(m.Header, headerSubject), Header: m.Header, Data: m.Data, Time: stored}
}

// last returns the last value of a header, or "".
func last(h nats.Header, name string) string {
	values := h[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
