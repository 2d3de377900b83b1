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
	"partyline/internal/listen"
	"partyline/internal/tally"
)

// stopTimeout bounds how long an HTTP server waits for the requests in progress.
const stopTimeout = 5 * time.Second

// serve runs the program until ctx ends or a part fails, and returns when all parts have ended. They start from the
// inside to the outside (NATS, listeners, pages, clients) and end in the opposite order. Of the HTTP servers the
// operator's ends last, so that the operator can watch the end.
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

	listeners, err := listenAll(c)
	if err != nil {
		return err
	}
	defer listeners.close() // for the errors below; their servers close them
	front, err := newFront(c, nats, log)
	if err != nil {
		return err
	}
	defer front.Leave()
	sites, err := newSites(c, front, listeners, log, logMetrics)
	if err != nil {
		return err
	}
	failed := make(chan error, len(sites))
	var running sync.WaitGroup
	defer running.Wait()
	for _, s := range sites {
		running.Go(func() {
			if err := s.serve(); err != nil {
				failed <- err
			}
		})
		defer s.stop(log)
	}
	if c.Page {
		listening = append(listening, "page", pageURL(c, listeners.clients.Addr()))
	}
	listening = append(listening, "address", listeners.clients.Addr().String(), "admin", listeners.admin.Addr().String(),
		"connections", front.Limiter.Max())
	log.Info("listening", listening...)
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	}
	front.Drain.Stop() // closes transports, also forwarded ones; their clients reconnect to another edge
	return err
}

// newSites makes the servers, in the order in which they start: the operator's first, so that it ends last.
func newSites(c config.Config, front *front, on *listeners, log *slog.Logger, logMetrics *tally.Set) ([]*site, error) {
	metrics := append(front.Metrics(), logMetrics)
	if front.certificate != nil {
		metrics = append(metrics, front.certificate.metrics())
	}
	pages, err := newPages(c, front, log, metrics)
	if err != nil {
		return nil, err
	}
	sites := []*site{{name: "admin.listen", listener: on.admin, server: admin.NewServer(pages, log)}}
	if on.edges != nil {
		edges := newServer(front.Forward, c.Engine, log)
		edges.IdleTimeout = edgesIdleTimeout
		sites = append(sites, &site{
			name: "edges.listen", listener: front.Limiter.Listen(on.edges), server: edges, limiter: front.Limiter,
		})
	}
	clients := newServer(front.hangingUp(front.handler), c.Engine, log)
	if front.certificate != nil {
		clients.TLSConfig = front.certificate.config()
	}
	return append(sites, &site{
		name: "listen", listener: front.Limiter.Listen(on.clients), server: clients, limiter: front.Limiter,
	}), nil
}

// newPages makes the operator's pages.
func newPages(c config.Config, front *front, log *slog.Logger, metrics []*tally.Set) (http.Handler, error) {
	return admin.NewHandler(admin.Options{
		Version: Version(),
		Ready:   front.Ready,
		Edges:   front.edges,
		Drain:   front.Drain,
		Pprof:   c.Admin.Pprof,
		Token:   c.Admin.Token,
		Hosts:   c.Admin.Names(),
		Metrics: metrics,
		Log:     log,
	})
}

// pageURL returns the URL of the page for a person on this machine.
func pageURL(c config.Config, address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost"
	}
	if c.TLS.Cert != "" {
		return "https://" + net.JoinHostPort(host, port) + "/"
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

// How long clients may take. Polls and WebSockets stay open: the engine has timeouts of its own for them.
const (
	headerTimeout = 10 * time.Second // for a TLS handshake, and for the header of a request
	bodyTimeout   = 10 * time.Second // for a body that no handler reads; the engine sets its own for those that it reads
	idleTimeout   = 15 * time.Second // between two requests; package listen allows proxies and other edges more
	writeTimeout  = 10 * time.Second // for a response, in addition to the time that reading a POST may take
	// refusedTimeout is for the rest of a request that was answered with an error.
	refusedTimeout = 500 * time.Millisecond
	// edgesIdleTimeout is between two requests of another edge.
	edgesIdleTimeout = 2 * time.Minute
)

const (
	maxHeaderBytes = 16 << 10 // as in Node.js; larger ones get 431
	maxHeaderLines = 100      // as in Envoy; more get 431
	maxStreams     = 100      // requests at a time on a connection of HTTP/2
)

// newServer makes a server for clients, or for other edges.
func newServer(handler http.Handler, c engine.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lines := 0
			for _, values := range r.Header {
				lines += len(values)
			}
			if lines > maxHeaderLines {
				w.Header().Set("Connection", "close")
				http.Error(w, "Too many header lines", http.StatusRequestHeaderFieldsTooLarge)
				return
			}
			if r.ContentLength != 0 {
				// Not ReadTimeout, which would end polls. net/http reads the rest of a body before it responds.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      c.PingInterval + c.PingTimeout + writeTimeout, // a poll gets a new one for its response
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// errors of clients, such as requests that are not HTTP
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// site is an HTTP server on its listener.
type site struct {
	name     string // the key of its address
	listener net.Listener
	server   *http.Server
	limiter  *listen.Limiter // of the listener, or nil
}

// serve serves until stop is called. Its error is the listener's.
func (s *site) serve() error {
	if s.limiter != nil {
		s.server.ConnState = s.limiter.Track
	}
	serve := s.server.Serve
	if s.server.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.server.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// stop accepts no more requests, waits for those in progress, and ends the rest after stopTimeout.
func (s *site) stop(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		log.Warn("requests cut off", "key", s.name, "error", err)
		if s.limiter != nil {
			s.limiter.Cut() // Close waits for each connection that TLS ends with a last record
		}
		_ = s.server.Close() // its error is that of the log line
	}
}

// listeners are those of a program.
type listeners struct {
	clients, admin net.Listener
	edges          net.Listener // nil if other edges come to clients
}

// listenAll opens the listeners.
func listenAll(c config.Config) (*listeners, error) {
	all := &listeners{}
	for _, l := range []struct {
		key, address string
		listener     *net.Listener
	}{
		{"listen", c.Listen, &all.clients}, {"admin.listen", c.Admin.Listen, &all.admin}, {"edges.listen", c.Edges.Listen, &all.edges},
	} {
		if l.address == "" {
			continue
		}
		var err error
		if *l.listener, err = openListener(l.key, l.address); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

func (l *listeners) close() {
	for _, each := range []net.Listener{l.clients, l.admin, l.edges} {
		if each != nil {
			_ = each.Close()
		}
	}
}

// openListener opens the listener of a key.
func openListener(key, address string) (net.Listener, error) {
	// No TCP keep-alive, which costs four system calls a connection: heartbeats find clients that are gone, and idle
	// connections time out.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, listenError(key, address, err)
	}
	return l, nil
}

// listenError explains why listening failed, and which key to change.
func listenError(key, address string, err error) error {
	remedy := fmt.Sprintf("choose another address with --%s (%s in the environment, %s in the file)",
		key, config.Variable(key), key)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another program: stop that program, or %s: %w", key, address, remedy, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on %s (ports below 1024 are often kept for root): %s: %w",
			key, address, remedy, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this machine: %s: %w", key, address, remedy, err)
	}
	return fmt.Errorf("%s: cannot listen on %s: %s: %w", key, address, remedy, err)
}
