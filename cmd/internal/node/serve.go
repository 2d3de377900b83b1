package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"partyline/admin"
	"partyline/config"
	"partyline/engine"
	"partyline/internal/tally"
)

// stopTimeout bounds how long an HTTP server waits for the requests that still run.
const stopTimeout = 5 * time.Second

// serve runs the program until ctx ends or a part of it fails, and returns when all parts have ended. They start from
// the inside to the outside (NATS, listeners, pages, clients) and end in the opposite order, the operator's pages last
// but NATS, so that an operator sees the end too.
func serve(ctx context.Context, f Flavour, c config.Config, log *slog.Logger, logMetrics *tally.Set) error {
	listening := []any{"version", Version()}
	var nats NATS
	if f.StartNATS != nil {
		var err error
		if nats, err = startNATS(f, c, log); err != nil {
			return err
		}
		defer nats.Shutdown()
		listening = append(listening, "nats", nats.ClientURL())
	}

	clientListener, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer clientListener.Close() // for the errors below; a server closes it itself
	adminListener, err := listen("admin.listen", c.Admin.Listen)
	if err != nil {
		return err
	}
	defer adminListener.Close()

	front, err := newFront(c, nats, log)
	if err != nil {
		return err
	}
	defer front.Leave()

	pages, err := newPages(c, front, log, logMetrics)
	if err != nil {
		return err
	}
	adminSite := &site{name: "admin.listen", listener: adminListener, server: admin.NewServer(pages, log)}
	clientSite := &site{name: "listen", listener: clientListener, server: newClientServer(front.handler, c.Engine, log)}
	failed := make(chan error, 2) // one for each site
	var running sync.WaitGroup
	for _, s := range []*site{adminSite, clientSite} {
		running.Go(func() {
			if err := s.serve(); err != nil {
				failed <- err
			}
		})
	}
	defer running.Wait()
	defer adminSite.stop(log)
	defer clientSite.stop(log)

	if c.Page {
		listening = append(listening, "page", pageURL(clientListener.Addr()))
	}
	log.Info("listening", append(listening, "address", clientListener.Addr().String(), "admin", adminListener.Addr().String())...)
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	}
	front.Drain.Stop() // ends the sessions, and those that go through this edge: their clients come back, to another edge
	return err
}

// newPages makes the operator's pages.
func newPages(c config.Config, front *front, log *slog.Logger, logMetrics *tally.Set) (http.Handler, error) {
	return admin.NewHandler(admin.Options{
		Version: Version(),
		Ready:   front.Ready,
		Edges:   front.edges,
		Drain:   front.Drain,
		Pprof:   c.Admin.Pprof,
		Metrics: append(front.Metrics(), logMetrics),
		Log:     log,
	})
}

// pageURL is where a person on this machine finds the page.
func pageURL(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// startNATS runs the NATS server inside the process.
func startNATS(f Flavour, c config.Config, log *slog.Logger) (NATS, error) {
	nats, err := f.StartNATS(c, log)
	var network *net.OpError
	if errors.As(err, &network) {
		return nil, listenError("embedded.listen", c.Embedded.Listen, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the NATS inside does not start: %w", err)
	}
	return nats, nil
}

// How long clients may take. Polls and WebSockets stay open: the engine ends them by its own clock.
const (
	headerTimeout = 10 * time.Second // from the first byte of a request to the end of its header
	bodyTimeout   = 10 * time.Second // for a body that nobody reads; the engine sets its own for those that it does
	idleTimeout   = 2 * time.Minute  // between two requests
	writeTimeout  = 10 * time.Second // for an answer, beside the time that a POST may take to be read
)

// newClientServer makes the server for clients.
func newClientServer(handler http.Handler, c engine.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 0 {
				// Not ReadTimeout, which would end polls. net/http reads what is left of a body before it answers.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      c.PingInterval + c.PingTimeout + writeTimeout,     // a poll, which waits, gets a new one for its answer
		MaxHeaderBytes:    16 << 10,                                          // as Node.js; more is answered with 431
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that speak no HTTP
	}
}

// site is an HTTP server on its listener.
type site struct {
	name     string // the key of its address
	listener net.Listener
	server   *http.Server
}

// serve serves until stop is called. The error is that of a listener that broke.
func (s *site) serve() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// stop takes no more requests, waits a while for those that run, and then cuts them off.
func (s *site) stop(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		log.Warn("requests cut off", "key", s.name, "error", err)
		_ = s.server.Close() // what it would report has been said
	}
}

// listen opens the listener of a key.
func listen(key, address string) (net.Listener, error) {
	// Heartbeats find clients that are gone, and idle requests time out: no probes of the system, which cost each connection
	// four calls.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, listenError(key, address, err)
	}
	return l, nil
}

// listenError says why an address cannot be listened on and which key to change.
func listenError(key, address string, err error) error {
	remedy := fmt.Sprintf("choose another address with --%s (%s in the environment, %s in the file)", key, config.Variable(key), key)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another program: stop that program, or %s: %w", key, address, remedy, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on %s (ports below 1024 are often kept for root): %s: %w", key, address, remedy, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this machine: %s: %w", key, address, remedy, err)
	}
	return fmt.Errorf("%s: cannot listen on %s: %s: %w", key, address, remedy, err)
}
