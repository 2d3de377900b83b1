package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/internal/throttle"
	"partyline/subjects"
)

// Service is one instance of a service, which handles the events of clients and sends to them. New makes it. All its
// methods may be called from several goroutines.
type Service struct {
	*connection
	*reports
	life
	presence

	lanes  *lanes // run handlers, one at a time for each socket
	calls  caller
	pauses *pauses

	questions   questions
	unconfirmed unconfirmed
	edges       edges
	peers       members // the other instances of the group

	owners     owners
	admissions admissions
	leave      leave
	fence      fence
}

// life is how far a service has come, and what ends with it.
type life struct {
	state   atomic.Int32    // fresh, running, leaving or closed
	ctx     context.Context // of handlers; ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup // the goroutines of the service, without those of lanes
	ended   sync.Once      // for abandon
}

// The states of a service.
const (
	fresh int32 = iota
	running
	leaving
	closed
)

// New makes an instance of the service group over the caller's connection, which stays the caller's: it is not closed
// here, and must live as long as the service. Group names all copies of the service together; it is one token of 1 to
// 64 characters of A-Z, a-z, 0-9, "_" and "-". Nothing is subscribed before Start, but emitting works from the
// beginning.
func New(nc *nats.Conn, group string, options ...Option) (*Service, error) {
	if nc == nil {
		return nil, failure(BadArguments, "New: there is no NATS connection")
	}
	const suffix = len("-") + 8
	if !subjects.IsToken(group) || len(group)+suffix > subjects.MaxTokenBytes {
		return nil, failure(BadArguments, "New: group %q must be 1 to %d characters of A-Z, a-z, 0-9, _ and -, and none of all, room, socket",
			group, subjects.MaxTokenBytes-suffix)
	}
	set := settings{log: slog.Default(), limits: Limits{}.withDefaults()}
	set.prefix, _ = subjects.NewPrefix("sio")
	for _, option := range options {
		if err := option(&set); err != nil {
			return nil, err
		}
	}
	log := set.log.With("service", group)
	s := &Service{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.connection = &connection{nc: nc, prefix: set.prefix, wait: set.limits.Wait, phase: &s.state}
	s.reports = &reports{log: log, complaints: throttle.New(log), onError: set.onError}
	s.out, s.group, s.instance = s.connection, group, newInstance(group)
	s.namespaces = &namespaces{byName: make(map[string]*Namespace)}
	s.calls = caller{s.connection, s.reports, s.name, s.disowned, set.silent}
	s.pauses = &pauses{connection: s.connection, reports: s.reports, name: s.name}
	s.lanes = newLanes(set.limits, s.pauses)
	s.questions = questions{connection: s.connection, edges: &s.edges, limits: set.limits}
	s.owners = owners{ctx: s.ctx, byID: make(map[string]*Socket)}
	s.admissions = admissions{
		connection: s.connection, reports: s.reports, presence: &s.presence, fence: &s.fence, calls: &s.calls, lanes: s.lanes,
		owners: &s.owners, edges: &s.edges, unconfirmed: &s.unconfirmed, decisions: decisions{byKey: make(map[string]*decision)},
	}
	s.edges.init(set.secret)
	s.peers.init()
	s.leave.init()
	s.unconfirmed.init(s.connection, func(what string, args ...any) { s.complaints.Log(slog.LevelWarn, what, "", "", args...) })
	s.fence.stop = make(chan struct{})
	return s, nil
}

// newInstance names an instance, new at each start and after a fence.
func newInstance(group string) string {
	return group + "-" + strings.ToLower(rand.Text()[:8])
}

// Group is the name that all copies of the service have together.
func (s *Service) Group() string { return s.group }

// Instance is the name of this copy. It changes if the copy was cut off from NATS for so long that others have taken
// over its sockets.
func (s *Service) Instance() string { return s.name() }

// Of is a namespace by its name, such as "/chat", or all that match a pattern, such as "/tenant-*", where * is any run
// of characters, slashes included. A name beats a pattern, then the longest pattern counts. Before Start, every call
// with the same name returns the same Namespace. A name that no namespace can have panics.
func (s *Service) Of(name string, options ...NamespaceOption) *Namespace {
	if name == "" || name[0] != '/' && name[0] != '*' {
		name = "/" + name // as in Socket.IO
	}
	n := &Namespace{svc: s, name: name, rules: &rules{service: make(map[string][]*handler)}}
	n.rules.events = make(map[string][]*handler)
	if !isPattern(name) {
		token, err := subjects.AppendNamespace(nil, name)
		if err != nil {
			panic(fmt.Sprintf("backend: Of(%.64q): %v", name, err))
		}
		n.token = string(token)
	}
	if len(options) > 0 && s.state.Load() != fresh {
		panic(fmt.Sprintf("backend: Of(%q): the service has started; give options before Start", name))
	}
	n = s.namespaces.add(n, s.state.Load() == fresh)
	for _, option := range options {
		option(n.rules)
	}
	return n
}

// Start subscribes to what the handlers are for, and announces the instance to the edges. When it returns, clients can
// connect. ctx bounds Start alone; what it starts ends with Close. A service that only sends needs no Start, but then
// it does not know which edges live, and questions to many sockets wait up to 1 s longer for their answers.
func (s *Service) Start(ctx context.Context) error {
	if !s.state.CompareAndSwap(fresh, running) {
		return failure(Closed, "Start: the service has been started before")
	}
	if err := s.namespaces.start(); err != nil {
		s.state.Store(closed)
		return err
	}
	if err := s.begin(ctx); err != nil {
		s.abandon()
		return err
	}
	return nil
}

// begin brings the instance up. First come the subscriptions for what an edge may send as soon as it knows the
// instance, then the announcement, then the subscriptions that make edges send.
func (s *Service) begin(ctx context.Context) error {
	before := s.nc.LastError()
	clients, own := s.namespaces.groupSubjects(s.prefix, s.group)
	err := cmp.Or(
		s.subs.add(s.connection, s.hear, announced(s.prefix, s.group)...),
		s.pauses.listen(&s.subs, s.lanes.throttled.confirm),
		s.subs.add(s.connection, s.handle, s.namespaces.serviceSubjects(s.prefix)...),
		s.clientSubs.add(s.connection, s.handle, own...),
		s.takeName(),
	)
	if err != nil {
		return err
	}
	if err := cmp.Or(s.announce(ctx), s.permitted(before)); err != nil {
		return err
	}
	if err := s.clientSubs.add(s.connection, s.handle, clients...); err != nil {
		return err
	}
	if err := s.flushed(ctx); err != nil {
		return because(Offline, err, "Start")
	}
	if err := s.permitted(before); err != nil {
		return err
	}
	s.working.Go(s.beat)
	s.working.Go(s.attend)
	s.log.Info("the service has started", "instance", s.Instance(), "namespaces", strings.Join(s.namespaces.names(), ", "))
	return nil
}

// permitted returns an error if NATS has refused a subject of this service. before is an earlier error of the
// connection.
func (s *Service) permitted(before error) error {
	err := s.nc.LastError()
	if err == before || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	return because(Refused, err, "Start: NATS does not permit all that this service needs (docs/subjects.md, Permissions)")
}
