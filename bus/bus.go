// Package bus is the edge's connection to NATS.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsconn"
	"partyline/internal/permits"
	"partyline/internal/redact"
	"partyline/internal/subscriptions"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/internal/wake"
)

const (
	// flushTimeout bounds the wait for the server's answer to a flush.
	flushTimeout = 10 * time.Second
	// flushAgain is how long after a flush without an answer the next one is made.
	flushAgain = 250 * time.Millisecond
	// measureEvery is the largest age of the measured round trip to NATS.
	measureEvery = 5 * time.Second
	// calmAfter is how long nothing must have been dropped before the bus has caught up.
	calmAfter = time.Second
	// DefaultChannel is how many messages may wait between NATS and the edge. One namespace may have half of them.
	DefaultChannel = 128 * 1024
	// DefaultLinger is how long a subscription stays behind its last user.
	DefaultLinger = 2 * time.Second
)

// Errors of publishing. Compare them with errors.Is.
var (
	// ErrOffline is returned when there is no connection to NATS: nothing is buffered to be sent later.
	ErrOffline = errors.New("no connection to NATS")
	// ErrSubjectTooLong is returned when subject and reply together pass MaxSubjects.
	ErrSubjectTooLong = errors.New("subject and reply subject are too long for NATS")
	// ErrTooLarge is returned when a message is larger than the NATS server accepts.
	ErrTooLarge = errors.New("message is larger than the NATS server accepts")
)

// Bus is one NATS connection: it publishes, it keeps the subscriptions of the edge, and it hands every message that
// arrives to one reader, in the order in which NATS delivered them.
//
// It has two doors. Publisher sends at once and may block: it is for messages from clients, on the goroutine that
// reads from the client. Outbox leaves everything to a worker and never blocks: it is for messages from NATS, which
// are handled on nats.go's read loop.
//
// The path of a message from NATS: nats.go's read loop → the shared channel (all subscriptions) → the handler of Run,
// on that read loop's goroutine (see link). While many wait: the channel → the line of its namespace → the handler, on
// Run's goroutine.
//
// A message arrives once for each matching subscription (see Subscribe).
type Bus struct {
	nc   *nats.Conn
	log  *slog.Logger
	url  string // without credentials, for the log
	urls string // as configured; see shown

	complaints *throttle.Logger
	identity   string // the kind of credentials, for the log; static
	permits    *permits.Table
	state      connection

	inbox         *inbox
	subscriptions *subscriptions.Table
	out           outbox
	work          *worker
	watching      sync.WaitGroup

	onConnect func(int) // static; runs on nats.go's callback goroutine; nil: nothing does

	stats stats
}

// connection is the state of the connection to NATS.
type connection struct {
	// online reports whether nats.go is connected, according to its callbacks. Asking nats.go itself needs its lock.
	// nats.go holds that while it writes and connects, which takes seconds if the network drops all packets.
	online  atomic.Bool
	dials   atomic.Uint64          // connections that were begun
	began   atomic.Int64           // unix nanoseconds of the start of the latest connection; 0: there was none
	lost    atomic.Int64           // unix nanoseconds of the end of the last one; 0: none has ended
	trouble atomic.Pointer[string] // why NATS refuses the connection; nil: it does not, or the reason is unknown
	words   atomic.Pointer[string] // the last error that NATS sent while connecting
	passed  atomic.Pointer[error]  // the last error that nats.go's callback has processed
	closed  chan struct{}          // closed when nats.go has ended the connection
}

type stats struct {
	published, publishedBytes tally.Counter
	received, receivedBytes   tally.Counter
	roundTrip                 tally.Gauge // nanoseconds; 0 before the first
	publishFailed             tally.Counter
	overflows                 tally.Counter
	reconnects                tally.Counter
	asyncErrors               tally.Counter
	// unsent is what was dropped before it was published, by kind.
	unsent  [boundedKinds]tally.Counter
	dropped tally.Counter // see Bus.Dropped
}

// Options change how Connect works. The zero Options are the defaults.
type Options struct {
	// Channel is how many messages may wait for Run; past that they are dropped and counted. One namespace may have as
	// many as are free: half of them if it is alone. 0: DefaultChannel.
	Channel int
	// Linger is how long a subscription is kept after its last user left. 0: DefaultLinger.
	Linger time.Duration
	// OnConnect is called after the first connection and after each later one, on nats.go's goroutine for callbacks,
	// which it must not block. maxPayload is the largest message in bytes that the server accepts, headers included.
	// nil: nothing is called.
	OnConnect func(maxPayload int)
	// InProcess is a server in the same process, to which the bus connects through memory instead of to the configured
	// URL. nil: there is none.
	InProcess nats.InProcessConnProvider
}

// Connect starts a connection. An unreachable server is not an error: the bus keeps trying, logs that, and is not
// Ready meanwhile. An unreadable credentials file or certificate is an error. The caller must Close the bus.
func Connect(cfg natsconn.Config, log *slog.Logger, o Options) (*Bus, error) {
	o.Channel, o.Linger = cmp.Or(o.Channel, DefaultChannel), cmp.Or(o.Linger, DefaultLinger)
	b := newBus(log, o, cfg.Prefix)
	b.url, b.urls, b.identity = redact.URLs(cfg.URL), cfg.URL, cfg.Identity()
	opts, err := cfg.Options("edge")
	if err != nil {
		return nil, err
	}
	if cfg.Like != nil {
		o.InProcess = cfg.Like.Opts.InProcessServer
	}
	l := linker{b, o.InProcess, cfg.Dialer()}
	opts = append(append(opts, b.handlers()...), nats.SetCustomDialer(l))
	url := cfg.URL
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(l))
		url, b.url = "", "in this process"
	}
	if b.nc, err = nats.Connect(url, opts...); err != nil { // its text only: it may repeat the URL
		return nil, fmt.Errorf("connect to NATS at %s: %s", redact.URLs(cfg.URL), redact.Text(err.Error(), cfg.URL))
	}
	go b.work.run()
	b.watching.Go(b.watch)
	return b, nil
}

// newBus makes a bus without a connection.
func newBus(log *slog.Logger, o Options, prefix string) *Bus {
	b := &Bus{log: log, complaints: throttle.New(log), onConnect: o.OnConnect}
	b.state.closed = make(chan struct{})
	b.out.wake = wake.New()
	b.inbox = newInbox(b, o.Channel, prefix)
	b.subscriptions = subscriptions.New(subscriptions.Settings{
		Linger: o.Linger, Failed: b.subscribeFailed, Connected: b.Connected, Wake: b.out.wake.Raise, Log: log,
		Open: func(subject string) (*nats.Subscription, error) { return b.nc.ChanSubscribe(subject, b.inbox.channel) },
	})
	b.permits = permits.New(permits.Settings{
		Log: log, Complaints: b.complaints, Wake: b.out.wake.Raise, Renew: b.subscriptions.Renew, Lacks: b.subscriptions.Lacks,
	})
	b.work = &worker{bus: b, quit: make(chan struct{}), done: make(chan struct{})}
	b.work.stale.Store(true)
	return b
}

func (b *Bus) handlers() []nats.Option {
	connected := func(nc *nats.Conn) {
		b.log.Info("connected to NATS", "server", nc.ConnectedServerName(), "url", b.url)
		b.state.trouble.Store(nil)
		b.permits.Reset()
		b.state.began.Store(time.Now().UnixNano())
		b.work.connectionChanged(true)
		if b.onConnect != nil {
			b.onConnect(int(nc.MaxPayload()))
		}
	}
	return []nats.Option{
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.stats.reconnects.Inc()
			connected(nc)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("lost the connection to NATS; sockets stay open, trying again", "error", b.shown(err))
			}
			b.state.lost.Store(time.Now().UnixNano())
			b.work.connectionChanged(false)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.connectFailed(err) }),
		nats.ErrorHandler(b.asyncError),
		nats.ClosedHandler(func(*nats.Conn) { close(b.state.closed) }),
	}
}

// shown returns the text of an error of nats.go for the log. Some repeat a URL.
func (b *Bus) shown(err error) string { return redact.Text(err.Error(), b.urls) }

// asyncError is called by nats.go for errors that belong to no call.
func (b *Bus) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	b.stats.asyncErrors.Inc()
	defer b.state.passed.Store(&err)
	if errors.Is(err, nats.ErrPermissionViolation) {
		b.permits.Refuse(err, b.shown(err))
		return
	}
	if _, known := natsconn.Explain(err, b.identity); known {
		b.connectFailed(err)
		return
	}
	b.complaints.Log(slog.LevelError, "NATS refused something", subject, err.Error(), "subscription", subject, "error", b.shown(err))
}

// Subscribe adds a user of a subject, whose messages Run then receives. It never blocks; AfterSubscribed reports when
// the subscription is active. Every Subscribe needs one Unsubscribe; a subject may have many users.
//
// Subscriptions are in no queue group: NATS keeps a dead connection for minutes, and would keep delivering its
// share to it. So a message comes once for each subscription that matches it. Message.Subscription tells
// the copies apart.
func (b *Bus) Subscribe(subject string) { b.subscriptions.Add(subject) }

// Unsubscribe removes a user. After the last, the subscription lingers: clients that leave a room often
// come back, or others enter it.
func (b *Bus) Unsubscribe(subject string) { b.subscriptions.Remove(subject) }

// subscribeFailed counts and logs that a subscription could not be made. It is tried again within measureEvery.
func (b *Bus) subscribeFailed(subject string, err error) {
	b.stats.asyncErrors.Inc()
	b.complaints.Log(slog.LevelError, "cannot subscribe", subject, err.Error(), "subject", subject, "error", err)
}

// Ready returns why the bus is not ready: nothing if it is.
func (b *Bus) Ready() []string {
	var why []string
	switch {
	case !b.Connected():
		offline := "not connected to NATS"
		if trouble := b.state.trouble.Load(); trouble != nil {
			offline += ": " + *trouble
		}
		why = append(why, offline)
	case b.work.stale.Load():
		why = append(why, "subscriptions are not in place yet")
	default:
		why = append(why, b.permits.Ready()...)
	}
	if !b.caughtUp() {
		why = append(why, "messages from NATS were dropped and the edge has not caught up yet")
	}
	return why
}

// caughtUp reports whether no message was dropped for calmAfter and none waits.
func (b *Bus) caughtUp() bool {
	last := b.inbox.overflowed.Load()
	if last == 0 {
		return true
	}
	if b.inbox.waiting() > 0 || time.Since(time.Unix(0, last)) < calmAfter || !b.inbox.overflowed.CompareAndSwap(last, 0) {
		return false
	}
	b.log.Warn("caught up with NATS again", "dropped", b.Dropped())
	return true
}

// Connected reports whether a publish would be sent now.
func (b *Bus) Connected() bool { return b.state.online.Load() }

// BeganAt is when the latest connection to NATS began; the zero time if there was none. What was published before may
// be lost.
func (b *Bus) BeganAt() time.Time { return at(b.state.began.Load()) }

// LostAt is when the last connection to NATS ended; the zero time if none has.
func (b *Bus) LostAt() time.Time { return at(b.state.lost.Load()) }

// at is the time of unix nanoseconds, or the zero time for 0.
func at(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

// MaxPayload is the largest message in bytes that the connected server accepts, headers included; 0 before the first
// connection.
func (b *Bus) MaxPayload() int { return int(b.nc.MaxPayload()) }

// Conn returns the connection. It is for package eventlog alone, which has subscriptions and requests of its own: what
// they receive does not pass Run. The bus closes it.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// Received is how many messages have arrived from NATS, without copies (see Run).
func (b *Bus) Received() uint64 { return b.stats.received.Value() }

// Dropped is how many messages were dropped because too many waited for Run.
func (b *Bus) Dropped() uint64 { return b.stats.dropped.Value() }

// Metrics lists what the bus counts.
func (b *Bus) Metrics() *tally.Set {
	set, s := &tally.Set{}, &b.stats
	set.Counter(&s.published, "nats_published_total", "Messages published to NATS.")
	set.Counter(&s.publishedBytes, "nats_published_bytes_total", "Bytes of bodies published to NATS.")
	set.Counter(&s.publishFailed, "nats_publish_failed_total", "Messages that could not be published.")
	set.Counter(&s.received, "nats_received_total", "Messages received from NATS.")
	set.Counter(&s.receivedBytes, "nats_received_bytes_total", "Bytes of bodies received from NATS.")
	set.Counter(&s.overflows, "nats_channel_overflows_total", "Times the channel from NATS was full.")
	set.Counter(&s.reconnects, "nats_reconnects_total", "Times the connection to NATS was made again.")
	set.Counter(&s.asyncErrors, "nats_errors_total", "Errors that NATS reported, for instance missing permissions.")
	b.complaints.Metrics(set, "bus")
	set.Func(tally.KindCounter, "nats_answers_dropped_total", "Answers and notices that could not be kept while NATS was away.",
		func() float64 { return float64(s.unsent[answer].Value() + s.unsent[notice].Value()) })
	for kind, bound := range bounds {
		set.LabelledCounter(&s.unsent[kind], "nats_unsent_dropped_total",
			"What was dropped before it could be published, by kind. A notice is one that is kept while NATS is away, such as a "+
				"disconnect; a confirmation is the answer to a join that waits for its subscription.", "kind", bound.name)
	}
	set.Counter(&s.dropped, "nats_channel_dropped_total", "Messages dropped because the channel from NATS was full.")
	set.Func(tally.KindGauge, "nats_channel_length", "Messages that wait between NATS and the edge.",
		func() float64 { return float64(b.inbox.waiting()) })
	set.Func(tally.KindGauge, "nats_round_trip_seconds", "Time that the last round trip to NATS took, what waited to be written included; 0 before the first.",
		func() float64 { return time.Duration(s.roundTrip.Value()).Seconds() })
	set.Func(tally.KindGauge, "nats_subscriptions", "Subscriptions of this edge.",
		func() float64 { return float64(b.subscriptions.Count()) })
	set.Func(tally.KindGauge, "nats_connected", "1 while there is a connection to NATS.", func() float64 {
		if b.Connected() {
			return 1
		}
		return 0
	})
	return set
}

// Close publishes queued messages until ctx ends, closes the connection and waits until all goroutines of the bus have
// stopped. Run returns when its own context ends.
func (b *Bus) Close(ctx context.Context) {
	b.work.stop(ctx)
	b.nc.Close()
	<-b.state.closed
	b.watching.Wait()
}
