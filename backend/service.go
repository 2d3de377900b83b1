package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
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
	logged     logged
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
	s.owners.ctx = s.ctx
	s.admissions = admissions{s, decisions{byKey: make(map[string]*decision)}}
	s.edges.init(set.secret)
	s.peers.init()
	s.leave = leave{markers: make(map[marker]bool), came: make(chan struct{})}
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
	var token []byte
	if !isPattern(name) {
		var err error
		if token, err = subjects.AppendNamespace(nil, name); err != nil {
			panic(fmt.Sprintf("backend: Of(%.64q): %v", name, err))
		}
	}
	if len(options) > 0 && s.state.Load() != fresh {
		panic(fmt.Sprintf("backend: Of(%q): the service has started; give options before Start", name))
	}
	r := &rules{service: make(map[string][]*handler), closures: closures{events: make(map[string][]*handler)}}
	n := s.namespaces.add(newNamespace(s, name, string(token), r), s.state.Load() == fresh)
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

// leave has the end markers that edges have sent to an instance that leaves.
type leave struct {
	mu      sync.Mutex
	markers map[marker]bool // guarded by mu: those that have come
	came    chan struct{}   // guarded by mu; closed and replaced when one comes
}

// marker is an end marker: nothing more comes from the edge in the namespace.
type marker struct{ namespace, edge string } // the namespace's token, the edge's id

// marker notes an end marker.
func (l *leave) marker(namespace string, body []byte) {
	var about msg.EdgeNotice
	if msg.ParseNotice(body, &about) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.markers[marker{namespace, about.Edge}] = true
	close(l.came)
	l.came = make(chan struct{})
}

// missing returns those of the markers that have not come, and what closes when one comes.
func (l *leave) missing(wanted []marker) (missing []marker, came <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range wanted {
		if !l.markers[m] {
			missing = append(missing, m)
		}
	}
	return missing, l.came
}

// Close takes the instance out of service so that no client notices. It announces that it leaves; the edges stop
// sending and hold what comes; it finishes all that they have sent, runs the handlers of OnHandover, and says that it
// has left; then the edges give its sockets, and what they held, to other instances. Then it finishes what came for
// any instance, and ends its subscriptions. The NATS connection stays open.
//
// ctx bounds all that. When it ends, Close gives up: events that wait for handlers are dropped, the contexts of
// handlers end, and the error reports it; handlers that run on are not waited for. After Close everything fails with
// Closed.
func (s *Service) Close(ctx context.Context) error {
	if s.state.CompareAndSwap(fresh, closed) {
		s.cancel()
		s.unconfirmed.close()
		return nil
	}
	s.assigning.Lock()
	first := s.state.CompareAndSwap(running, leaving)
	s.assigning.Unlock()
	if !first {
		return nil // it has been closed, or is being closed
	}
	err := errors.Join(s.handOver(ctx), s.finish(ctx))
	s.abandon()
	return err
}

// abandon ends everything at once. It does not wait for handlers that run.
func (s *Service) abandon() { s.ended.Do(s.cutOff) }

func (s *Service) cutOff() {
	busy := s.lanes.stop()
	s.cancel()
	close(s.fence.stop)
	s.unconfirmed.close()
	s.working.Wait()
	for _, sub := range slices.Concat(s.subs.take(), s.clientSubs.take(), s.ownSubs.take()) {
		_ = sub.Unsubscribe()
	}
	for _, so := range s.owners.all() {
		s.owners.remove(so)
		so.own.end()
	}
	s.state.Store(closed)
	if busy == 0 {
		s.lanes.running.Wait()
	} else {
		s.log.Error("handlers run on after Close: they have not returned in time", "handlers", busy)
	}
}

// handOver stops the edges' sending, and finishes what they have sent to this instance.
func (s *Service) handOver(ctx context.Context) error {
	wanted, failed := s.sayLeaving(ctx)
	if failed == nil {
		failed = s.leave.await(ctx, &s.edges, wanted)
	}
	s.ownSubs.settle(ctx) // edges that have gone said goodbye behind the ends of their sockets, on another subscription
	sockets := s.owners.all()
	done := make(chan struct{}, len(sockets))
	for _, so := range sockets {
		s.lanes.always(laneKey{so.ns.token, so.id}, func() {
			s.release(so, handingOver)
			done <- struct{}{}
		})
	}
	for range sockets {
		select {
		case <-done:
		case <-ctx.Done():
			return errors.Join(failed, because(NoAnswer, ctx.Err(), "Close: handlers of owned sockets have not finished"))
		}
	}
	return failed
}

// sayLeaving announces that the instance leaves. It returns the end markers that the edges have sent, by their
// answers.
func (s *Service) sayLeaving(ctx context.Context) (wanted []marker, err error) {
	if all, _ := s.edges.living(); len(all) == 0 {
		return nil, s.say(subjects.WordLeaving) // no edge would answer
	}
	bound, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	silent, err := s.questions.gather(bound, s.announcement(s.Instance(), subjects.WordLeaving), &gathering{
		members: s.edges.living, lives: s.edges.lives,
		take: func(m *nats.Msg) (string, error) {
			answer, err := msg.ParseHandedOver(m.Data)
			if err != nil {
				return "", nil
			}
			for _, namespace := range answer.Markers {
				if token, err := subjects.AppendNamespace(nil, namespace); err == nil {
					wanted = append(wanted, marker{string(token), answer.Edge})
				}
			}
			return answer.Edge, nil
		},
	})
	if err == nil && len(silent) > 0 {
		s.log.Warn("edges did not answer that this instance leaves", "edges", silent)
	}
	return wanted, err
}

// await waits until all end markers have come from edges that live.
func (l *leave) await(ctx context.Context, edges *edges, wanted []marker) error {
	for {
		_, edgesChanged := edges.living()
		missing, came := l.missing(wanted)
		if !slices.ContainsFunc(missing, func(m marker) bool { return edges.lives(m.edge) }) {
			return nil
		}
		select {
		case <-came:
		case <-edgesChanged:
		case <-ctx.Done():
			return because(NoAnswer, ctx.Err(), "Close: %d end markers of edges have not come", len(missing))
		}
	}
}

// finish ends the subscriptions, handles what has come on them, and announces that the instance has left.
func (s *Service) finish(ctx context.Context) error {
	return errors.Join(
		s.clientSubs.drain(ctx, s.nc),
		s.sayFlushed(ctx, subjects.WordLeft),
		s.ownSubs.drain(ctx, s.nc),
		s.lanes.wait(ctx),
		s.sayFlushed(ctx, subjects.WordBye),
	)
}

// sayFlushed publishes an announcement, and waits until NATS has taken it. It returns nil if there is no connection:
// then the edges miss this instance's beats.
func (s *Service) sayFlushed(ctx context.Context, word string) error {
	if s.say(word) != nil {
		return nil
	}
	if err := s.flushed(ctx); err != nil {
		return because(Offline, err, "Close")
	}
	return nil
}
