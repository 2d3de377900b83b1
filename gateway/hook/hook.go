// Package hook calls HTTP endpoints for clients of Socket.IO: each connect, event and disconnect that a hook names is
// one CloudEvent in a signed POST, and the answer admits the socket, is the ack, and emits (docs/how-to/http.md).
//
// The gateway owns the sockets of hooked namespaces, as any service does (backend.Owned). So the requests of one socket
// are made one after the other, in order, those of different sockets side by side. A slow endpoint fills the queue of a
// socket until package backend pauses its client; the edge never waits.
package hook

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"partyline/backend"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
)

// The names under which a hook takes the connects and disconnects of sockets. No client can emit these, and no pattern
// matches them.
const (
	Connect    = "connect"
	Disconnect = "disconnect"
)

// Hook says which events of which namespaces go to which endpoints.
type Hook struct {
	Namespaces  []string      // names, or patterns in which * is any run of characters
	Events      []string      // the same for events of clients; Connect and Disconnect by their names alone
	URLs        []string      // used in turn, as long as they answer
	Secrets     [][]byte      // each request is signed with all of them
	Timeout     time.Duration // of one request
	Concurrency int           // requests under way, to all URLs together
	DenyPrivate bool          // private and loopback addresses are refused; those of link-local and metadata services always are
}

// How long a gateway tries.
const (
	// eventPatience is for disconnects, and events whose client wants no ack.
	eventPatience = time.Minute
	// connectPatience is for a connect; then the edge asks again. By default an edge asks for 20 seconds.
	connectPatience = 20 * time.Second
)

// Hooks are those of a gateway. New makes them.
type Hooks struct {
	io         *backend.Service          // set by Register
	callers    atomic.Pointer[[]*caller] // the slice is static
	userRoom   string
	complaints *throttle.Logger
	stats      stats
}

// New returns the hooks. Of several that match an event, the first counts. userRoom is what the rooms of users begin
// with; "" if they have none.
func New(hooks []Hook, userRoom string, log *slog.Logger) *Hooks {
	hs := &Hooks{userRoom: userRoom, complaints: throttle.New(log)}
	hs.callers.Store(&[]*caller{})
	hs.Replace(hooks)
	return hs
}

// Replace puts hooks in the place of others, which name the same namespaces all together. One that stays keeps what is
// known of its endpoints; requests under way end as they began.
func (hs *Hooks) Replace(hooks []Hook) {
	var next []*caller
	before := hs.all()
	for _, h := range hooks {
		if at := slices.IndexFunc(before, func(c *caller) bool { return reflect.DeepEqual(c.Hook, h) }); at >= 0 {
			next = append(next, before[at])
			continue
		}
		next = append(next, newCaller(h, &hs.stats))
	}
	hs.callers.Store(&next)
	for _, c := range before {
		if !slices.Contains(next, c) {
			c.transport.CloseIdleConnections() // those in use end soon after: see idleTimeout
		}
	}
}

func (hs *Hooks) all() []*caller { return *hs.callers.Load() }

// Register makes a service, before its start, the owner of the sockets of all hooked namespaces.
func (hs *Hooks) Register(io *backend.Service) {
	hs.io = io
	for _, name := range hs.Namespaces() {
		ns := io.Of(name, backend.Owned())
		ns.Use(hs.admit)
		ns.UsePacket(hs.event)
		ns.OnDisconnect(hs.ended)
	}
}

// Namespaces returns the names and patterns of all hooks, each once.
func (hs *Hooks) Namespaces() (names []string) {
	for _, c := range hs.all() {
		names = append(names, c.Namespaces...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Metrics returns the metrics.
func (hs *Hooks) Metrics() *tally.Set { return hs.stats.metrics(hs.complaints) }

// Close ends connections that are idle. No request may be under way.
func (hs *Hooks) Close() {
	for _, c := range hs.all() {
		c.transport.CloseIdleConnections()
	}
}

// find returns the hook that takes an event, or nil. What pages of the Admin UI send is for no endpoint, whatever matches:
// passwords are in their connects.
func (hs *Hooks) find(namespace, event string) *caller {
	if namespace == subjects.AdminUI {
		return nil
	}
	isOwn := event == Connect || event == Disconnect
	for _, c := range hs.all() {
		matches := func(pattern string) bool {
			return pattern == event || !isOwn && subjects.Matches(pattern, event)
		}
		isHere := func(pattern string) bool { return subjects.Matches(pattern, namespace) }
		if slices.ContainsFunc(c.Namespaces, isHere) && slices.ContainsFunc(c.Events, matches) {
			return c
		}
	}
	return nil
}

// owns returns what reports whether this gateway still has the sockets that it has now. A gateway that was cut off from
// NATS loses them, and its instance gets another name.
func (hs *Hooks) owns() func() bool {
	instance := hs.io.Instance()
	return func() bool { return hs.io.Instance() == instance }
}

// admit asks a hook whether a socket may connect. It is a middleware.
func (hs *Hooks) admit(so *backend.Socket) error {
	c := hs.find(so.Namespace().Name(), Connect)
	if c == nil {
		return backend.NotMine
	}
	e := newEvent(so, typeConnect, "")
	e.ID = connectID(so)
	e.Data = connectData{so.Handshake(), so.Recovered()}
	a, err := c.deliver(so.Context(), e, delivery{patience: connectPatience, repeats: true, isConnect: true})
	if err == nil && a.refusal == nil {
		err = a.grant(so)
	}
	if err != nil {
		hs.gaveUp(so, Connect, err)
		return backend.NotNow
	}
	if a.refusal != nil {
		return a.refusal
	}
	return nil
}

// connectID returns the id of a connect. All gateways that an edge asks about it use the same.
func connectID(so *backend.Socket) string {
	sum := sha256.Sum256([]byte(so.ID() + " " + strconv.FormatInt(so.Handshake().Issued, 10)))
	return "connect_" + base64.RawURLEncoding.EncodeToString(sum[:18])
}

// event gives an event to its hook, and carries out the answer. It is a packet middleware.
func (hs *Hooks) event(so *backend.Socket, p *backend.Packet) error {
	c := hs.find(so.Namespace().Name(), p.Event)
	if c == nil {
		hs.stats.unrouted.Inc()
		return nil
	}
	text, attachments, err := p.Body()
	if err != nil {
		return err
	}
	e := newEvent(so, typeEvent, p.Event)
	e.WantsAck, e.Data = p.WantsAck, eventData{text, attachments}
	p.Args = backend.Args{} // many take many times their text, and the endpoint may be slow
	a, err := c.deliver(so.Context(), e, delivery{patience: eventPatience, repeats: !p.WantsAck, owns: hs.owns()})
	if err == nil {
		err = a.carryOut(so, p, hs.userRoom)
	}
	if err == nil {
		return nil
	}
	if f := hs.gaveUp(so, p.Event, err); p.WantsAck && !f.result.mayRepeat() {
		// Another try would not help, so the client need not wait for its own timeout.
		if err := p.Ack(map[string]string{"error": "no usable answer"}); err != nil && !errors.Is(err, backend.Answered) {
			return err
		}
	}
	return nil
}

// ended tells a hook that a socket has gone.
func (hs *Hooks) ended(so *backend.Socket, reason string) {
	c := hs.find(so.Namespace().Name(), Disconnect)
	if c == nil {
		return
	}
	rooms, _ := so.Rooms(so.Context()) // known in this handler
	e := newEvent(so, typeDisconnect, "")
	e.Data = disconnectData{reason, rooms}
	a, err := c.deliver(so.Context(), e, delivery{patience: eventPatience, repeats: true, owns: hs.owns()})
	if err == nil {
		err = a.carryOut(so, nil, hs.userRoom)
	}
	if err != nil {
		hs.gaveUp(so, Disconnect, err)
	}
}

// gaveUp counts and logs what a hook was not told, or what its answer could not do.
func (hs *Hooks) gaveUp(so *backend.Socket, event string, err error) *failure {
	var f *failure
	if !errors.As(err, &f) { // of the answer, or of sending what it says
		f = &failure{result: badAnswer, err: err}
		if errors.Is(err, backend.Offline) || errors.Is(err, backend.Closed) {
			f.result = stopped
		}
	}
	hs.stats.givenUp[f.result].Inc()
	place := so.Namespace().Name() + " " + event
	hs.complaints.Log(slog.LevelWarn, "a hook was given up", place, f.result.String(),
		"namespace", so.Namespace().Name(), "event", event, "socket", so.ID(), "reason", f.result.String(), "error", err)
	return f
}

// The types of CloudEvents.
const (
	typeConnect    = "partyline.connect"
	typeEvent      = "partyline.event"
	typeDisconnect = "partyline.disconnect"
)

// cloudEvent is a CloudEvent 1.0 in structured mode, the body of a request.
type cloudEvent struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"` // the namespace
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"` // the event's name
	Time            string `json:"time"`
	Socket          string `json:"socket"`
	User            string `json:"user,omitempty"`
	WantsAck        bool   `json:"wantsack"`
	DataContentType string `json:"datacontenttype"`
	Data            any    `json:"data"`
}

// The data of the three types.
type (
	connectData struct {
		Handshake *backend.Handshake `json:"handshake"`
		Recovered bool               `json:"recovered,omitempty"`
	}
	eventData struct {
		Event       json.RawMessage `json:"event"`
		Attachments [][]byte        `json:"attachments,omitempty"`
	}
	disconnectData struct {
		Reason string   `json:"reason"`
		Rooms  []string `json:"rooms"`
	}
)

func newEvent(so *backend.Socket, kind, subject string) *cloudEvent {
	return &cloudEvent{
		SpecVersion: "1.0", ID: "event_" + rand.Text(), Source: so.Namespace().Name(), Type: kind, Subject: subject,
		Time: time.Now().UTC().Format(time.RFC3339Nano), Socket: so.ID(), User: so.User(), DataContentType: "application/json",
	}
}

// encode returns the event as JSON.
func (e *cloudEvent) encode() ([]byte, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(e)
	return []byte(strings.TrimSuffix(text.String(), "\n")), err
}

// delivery says how one event is delivered.
type delivery struct {
	patience  time.Duration // for all tries together
	repeats   bool          // tries again where the endpoint may have received the event
	isConnect bool          // an answer that cannot be used is not the last word
	owns      func() bool   // reports whether the socket may still be this gateway's; nil for a connect
	end       time.Time     // set by deliver: when patience has passed
	at        int64         // the timestamp of the last try; each has another, so that no recording of one looks like the next
}

// pause is how long the next try waits: it doubles from 250 ms to 5 s.
func pause(tries int) time.Duration { return min(250*time.Millisecond<<min(tries, 5), 5*time.Second) }

// deliver posts an event until an endpoint answers or patience has passed. Every try has the same id and body. An event
// that must not be repeated goes to another URL only if it was not sent.
func (c *caller) deliver(ctx context.Context, e *cloudEvent, d delivery) (*answer, error) {
	body, err := e.encode()
	if err != nil {
		return nil, err
	}
	c.stats.waiting.Add(1)
	defer c.stats.waiting.Add(-1)
	d.end = time.Now().Add(d.patience)
	for tries := 0; ; tries++ {
		u, wait := c.pool.next(time.Now())
		a, failed := (*answer)(nil), (*failure)(nil)
		if wait == 0 {
			if a, failed = c.try(ctx, u, e.ID, body, &d); failed == nil {
				return a, nil
			}
			if !failed.unsent && !d.isConnect && !(d.repeats && failed.result.mayRepeat()) {
				return nil, failed
			}
			if wait = pause(tries / len(c.pool.urls)); failed.unsent && (tries+1)%len(c.pool.urls) > 0 {
				wait = 0 // another URL may answer
			} else if !d.repeats {
				return nil, failed
			}
			wait = max(wait, failed.after)
		}
		if time.Now().Add(wait).After(d.end) {
			return nil, cmp.Or(failed, &failure{result: busy, err: errBusy})
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, &failure{result: stopped, err: context.Cause(ctx)}
		}
		if d.owns != nil && !d.owns() { // another one may have handled the socket's next event
			return nil, &failure{result: stopped, err: errNotOwned}
		}
	}
}
