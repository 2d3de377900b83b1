package node

import (
	"context"
	"log/slog"
	"sync"

	"partyline/admin"
	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/internal/front"
)

// edge serves clients, with what only a program has.
type edge struct {
	*front.Front
	certificate *certificate // nil without TLS
	gateway     Gateway      // nil: there is none in the process
	tail        Tail         // nil: there is none
}

// gatewayListen is the key of the gateway's address.
const gatewayListen = "gateway.listen"

// startGateway starts the gateway, if there is one, and returns why it could not. stop waits until it was tried.
func (e *edge) startGateway(ctx context.Context) (refused <-chan error, stop func()) {
	if e.gateway == nil {
		return nil, func() {}
	}
	errs, starting := make(chan error, 1), sync.WaitGroup{}
	ctx, cancel := context.WithCancel(ctx)
	starting.Go(func() {
		if err := e.gateway.Start(ctx); err != nil {
			errs <- err
		}
	})
	return errs, func() { cancel(); starting.Wait() }
}

// ready returns why clients should not come now.
func (e *edge) ready() []string {
	why := e.Ready()
	if e.gateway != nil {
		why = append(why, e.gateway.Ready()...)
	}
	return why
}

// prepare returns what makes the edge go on with another configuration, or why it cannot.
func (e *edge) prepare(c config.Config) (use func(), err error) {
	useParts, err := e.Prepare(c)
	if err != nil || e.gateway == nil {
		return useParts, err
	}
	useGateway, err := e.gateway.Prepare(c)
	if err != nil {
		return nil, err
	}
	return func() {
		useParts()
		useGateway()
	}, nil
}

// newEdge connects to NATS, which may take long, and makes everything that serves clients. The caller must call
// Leave.
func newEdge(f Flavour, c config.Config, inside NATS, log *slog.Logger) (*edge, error) {
	e := &edge{}
	set := front.Settings{Config: c, Version: program.Version(), NATS: inside, Log: log}
	var err error
	if c.TLS.Cert != "" {
		if e.certificate, err = newCertificate(c.TLS, log); err != nil {
			return nil, err
		}
		set.Attend = append(set.Attend, e.certificate.watch)
	}
	if f.OpenTail != nil && c.Open && c.Page {
		e.tail = f.OpenTail(c, inside, log)
		set.Tail = e.tail
	}
	if e.Front, err = front.New(set); err != nil {
		return nil, err
	}
	return e, nil
}

// endTail ends the requests that would not end by themselves.
func (e *edge) endTail() {
	if e.tail != nil {
		e.tail.Close()
	}
}

// edges returns what /edges shows.
func (e *edge) edges() []admin.Edge {
	var all []admin.Edge
	for _, m := range e.Cluster.Members() {
		all = append(all, admin.Edge{
			Edge: m.ID, Address: m.Address, Sockets: m.Sockets, BeatAge: m.Beat.Milliseconds(),
			This: m.This, Silent: m.Silent, Draining: m.Draining,
		})
	}
	return all
}
