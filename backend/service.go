package backend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/internal/throttle"
	"partyline/subjects"
)

// Service is one instance of a service: what handles the events of clients, and sends to them. New makes it. All its
// methods may be called from several goroutines.
type Service struct {
	nc     *nats.Conn // the caller's; never closed here
	group  string
	prefix subjects.Prefix
	log    *slog.Logger
	set    settings

	ctx    context.Context // of handlers; ends with Close
	cancel context.CancelFunc
	state  atomic.Int32
	// working are the goroutines of this service, but for those of lanes.
	working sync.WaitGroup

	lanes     *lanes
	owners    owners
	edges     edges
	peers     peers
	leave     leave
	decisions decisions
	stats     stats
	fence     fence

	complaints *throttle.Logger // for lines that clients or edges can cause again and again

	pauseInbox string     // where edges answer to pauses; set by Start, then constant
	complained complained // owned by the goroutine of lanes.speak

	unconfirmed unconfirmed

	questions atomic.Int64 // how many are under way
	ended     sync.Once    // for abandon
	claiming  sync.RWMutex // held for reading while a socket is claimed; before mu

	mu         sync.Mutex
	namespaces map[string]*Namespace // guarded by mu until Start, then constant; by name or pattern
	byToken    map[string]*Namespace // set by Start, then constant; those without a pattern
	patterns   []*Namespace          // set by Start, then constant; longest first
	subs       []*nats.Subscription  // guarded by mu; announcements and events of other services
	clientSubs []*nats.Subscription  // guarded by mu; what is for any instance of the group
	ownSubs    []*nats.Subscription  // guarded by mu; of the instance's name
	former     []string              // guarded by mu; names that this instance had, and has not said goodbye for
	instance   string                // guarded by mu; <group>-<8 random characters>, another one after a fence
}

// The life of a service.
const (
	fresh int32 = iota
	running
	leaving
	closed
)

// New makes an instance of the service group over the caller's connection, which stays the caller's: it is not closed
// here, and must live as long as the service. Group names all copies of the service together; it is one token of 1 to 64
// characters of A-Z, a-z, 0-9, "_" and "-". Nothing is subscribed before Start, but emitting works from the beginning.
func New(nc *nats.Conn, group string, options ...Option) (*Service, error) {
	if nc == nil {
		return nil, failure(BadArguments, "New: there is no NATS connection")
	}
	const suffix = len("-") + 8
	if !subjects.IsToken(group) || len(group)+suffix > subjects.MaxTokenBytes {
		return nil, failure(BadArguments, "New: group %q must be 1 to %d characters of A-Z, a-z, 0-9, _ and -, and none of all, room, socket",
			group, subjects.MaxTokenBytes-suffix)
	}
	s := &Service{nc: nc, group: group, namespaces: make(map[string]*Namespace)}
	s.set = settings{log: slog.Default(), limits: Limits{}.withDefaults()}
	s.set.prefix, _ = subjects.NewPrefix("sio")
	for _, option := range options {
		if err := option(&s.set); err != nil {
			return nil, err
		}
	}
	s.prefix, s.instance = s.set.prefix, newInstance(group)
	s.log = s.set.log.With("service", group)
	s.complaints = throttle.New(s.log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lanes = newLanes(s.set.limits, s.flooded)
	s.lanes.edges = edgeWords{s.pauseSocket, s.resumeSocket, s.watchPauses}
	s.owners.init()
	s.decisions.init()
	s.edges.init()
	s.peers.init()
	s.leave.init()
	s.unconfirmed.init(nc, s.log.Warn)
	s.fence.stop = make(chan struct{})
	return s, nil
}

// newInstance names an instance, new at each start and after a fence.
func newInstance(group string) string {
	return group + "-" + strings.ToLower(rand.Text()[:8])
}

// Group is the name that all copies of the service have together.
func (s *Service) Group() string { return s.group }

// Instance is the name of this copy. It changes when the copy was cut off from NATS for so long that others have taken
// over what it owned.
func (s *Service) Instance() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.instance
}

// Of is a namespace by its name, such as "/chat", or all that match a pattern, such as "/tenant-*", where * is any run of
// characters, slashes included. A name beats a pattern, then the longest pattern counts. Before Start, every call with
// the same name returns the same Namespace. A name that no namespace can have panics.
func (s *Service) Of(name string, options ...NamespaceOption) *Namespace {
	if name == "" || name[0] != '/' && name[0] != '*' {
		name = "/" + name // as in Socket.IO
	}
	n := &Namespace{svc: s, name: name, rules: &rules{events: make(map[string][]*handler), service: make(map[string][]*handler)}}
	if !isPattern(name) {
		token, err := subjects.AppendNamespace(nil, name)
		if err != nil {
			panic(fmt.Sprintf("backend: Of(%.64q): %v", name, err))
		}
		n.token = string(token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.namespaces[name]; known != nil {
		n = known
	} else if s.state.Load() == fresh {
		s.namespaces[name] = n
	}
	if len(options) > 0 && s.state.Load() != fresh {
		panic(fmt.Sprintf("backend: Of(%q): the service has started; give options before Start", name))
	}
	for _, option := range options {
		option(n.rules)
	}
	return n
}

// namespace finds who handles a namespace; it says no when nobody does.
func (s *Service) namespace(token string) (*Namespace, bool) {
	if n := s.byToken[token]; n != nil {
		return n, true
	}
	if len(s.patterns) == 0 {
		return nil, false
	}
	name, err := subjects.Namespace(token)
	if err != nil {
		return nil, false
	}
	for _, p := range s.patterns {
		if subjects.Matches(p.name, name) {
			return &Namespace{svc: s, name: name, token: token, rules: p.rules}, true
		}
	}
	return nil, false
}

// Start subscribes to what the handlers are for, and announces the instance to the edges. When it returns, clients can
// connect. ctx bounds Start alone; what it starts ends with Close. A service that only sends needs no Start, but then it
// does not know which edges live, and questions to many sockets wait a moment longer for their answers.
func (s *Service) Start(ctx context.Context) error {
	if !s.state.CompareAndSwap(fresh, running) {
		return failure(Closed, "Start: the service has been started before")
	}
	s.mu.Lock()
	all := slices.SortedFunc(maps.Values(s.namespaces), func(a, b *Namespace) int { return strings.Compare(a.name, b.name) })
	s.mu.Unlock()
	s.byToken = make(map[string]*Namespace)
	for _, n := range all {
		if err := n.check(); err != nil {
			s.state.Store(closed)
			return err
		}
		if isPattern(n.name) {
			s.patterns = append(s.patterns, n)
		} else {
			s.byToken[n.token] = n
		}
	}
	slices.SortStableFunc(s.patterns, func(a, b *Namespace) int { return len(b.name) - len(a.name) })
	if err := s.begin(ctx, all); err != nil {
		s.abandon()
		return err
	}
	return nil
}

// begin brings the instance up: first what an edge may send as soon as it knows of the instance, then the announcement,
// then what makes it send.
func (s *Service) begin(ctx context.Context, all []*Namespace) error {
	before := s.nc.LastError()
	if err := s.watch(); err != nil {
		return err
	}
	if err := s.hearPauses(); err != nil {
		return err
	}
	if err := s.subscribeAll(&s.subs, s.serviceSubjects(all)); err != nil {
		return err
	}
	if err := s.subscribeAll(&s.clientSubs, s.groupSubjects(all)); err != nil {
		return err
	}
	if err := s.takeName(all); err != nil {
		return err
	}
	if err := s.announce(ctx); err != nil {
		return err
	}
	if err := s.subscribeAll(&s.clientSubs, s.clientSubjects(all)); err != nil {
		return err
	}
	if err := s.flushed(ctx); err != nil {
		return because(Offline, err, "Start")
	}
	if err := s.nc.LastError(); err != before && errors.Is(err, nats.ErrPermissionViolation) {
		s.log.Error("NATS does not permit all that this service needs (docs/subjects.md, Permissions)", "error", err)
	}
	s.working.Go(s.beat)
	s.working.Go(s.attend)
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.name
	}
	s.log.Info("the service has started", "instance", s.Instance(), "namespaces", strings.Join(names, ", "))
	return nil
}

// publish sends a message, if that is possible now: nothing is sent minutes later.
func (s *Service) publish(m *nats.Msg) error {
	if err := s.reachable(); err != nil {
		return err
	}
	return sendError(s.nc.PublishMsg(m), m, s.nc)
}

// reachable tells whether something can be sent now.
func (s *Service) reachable() error {
	switch {
	case s.state.Load() == closed:
		return failure(Closed, "the service is closed")
	case s.nc.IsClosed():
		return failure(Closed, "the NATS connection is closed")
	case !s.nc.IsConnected():
		return failure(Offline, "NATS is away")
	}
	return nil
}

// flushed waits until NATS has taken all that was sent before.
func (s *Service) flushed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.set.limits.Wait) // nats.go wants a deadline
	defer cancel()
	return s.nc.FlushWithContext(ctx)
}

// reply answers a message.
func (s *Service) reply(to string, header nats.Header, body []byte) error {
	return s.publish(&nats.Msg{Subject: to, Header: header, Data: body})
}

// flooded closes the transport of a socket whose events nobody handles fast enough, though it was paused: its client comes
// back by itself.
func (s *Service) flooded(key laneKey, events, bytes int) {
	s.stats.overflows.Add(1)
	if !subjects.IsSocketID(key.who) {
		s.complaints.Log(slog.LevelError, "events of another service are thrown away: their handlers do not keep up",
			key.namespace, "", "namespace", key.namespace, "from", key.who, "events", events, "bytes", bytes)
		return
	}
	s.complaints.Log(slog.LevelError,
		"a client's connection is closed: its handlers do not keep up, or one blocks, and pausing it did not help", key.namespace, "",
		"namespace", key.namespace, "socket", key.who, "events", events, "bytes", bytes)
	subject := s.prefix.AppendToSocket(nil, key.namespace, subjects.VerbDisconnect, key.who)
	if err := s.publish(&nats.Msg{Subject: string(subject), Data: []byte(`["close"]`)}); err != nil {
		s.complaints.Log(slog.LevelError, "a client's connection could not be closed", "", err.Error(), "socket", key.who, "error", err)
	}
}

// forLog returns the text of an error for the log, without what a client sent: that is for the hook of OnError alone.
func forLog(err error) string {
	var unfit *ArgumentError
	if errors.As(err, &unfit) {
		return fmt.Sprintf("argument %d does not fit: expected %s", unfit.Argument, unfit.Want)
	}
	return err.Error()
}

// report tells the hook and the log what went wrong in, or on the way to, a handler.
func (s *Service) report(ns *Namespace, event, socket string, err error) {
	e := &HandlerError{Namespace: ns.name, Event: event, Socket: socket, Err: err}
	reason := forLog(err)
	attributes := []any{"namespace", ns.name, "event", event, "socket", socket, "error", reason}
	var panicked *PanicError
	var unfit *ArgumentError
	switch {
	case errors.As(err, &panicked):
		s.stats.panics.Add(1)
		attributes = append(attributes, "stack", string(panicked.Stack))
	case errors.As(err, &unfit):
		s.stats.badArguments.Add(1)
	default:
		s.stats.failures.Add(1)
	}
	s.complaints.Log(slog.LevelError, "an event could not be handled", ns.name+" "+event, reason, attributes...)
	if s.set.onError != nil {
		if err := guarded(func() error { s.set.onError(e); return nil }); err != nil {
			s.complaints.Log(slog.LevelError, "the hook of OnError panicked", "", err.Error(), "error", err)
		}
	}
}
