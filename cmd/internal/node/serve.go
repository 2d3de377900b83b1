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

	clientListener, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer clientListener.Close() // for the errors below; its server closes it
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
	listening = append(listening, "address", clientListener.Addr().String(), "admin", adminListener.Addr().String())
	log.Info("listening", listening...)
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	}
	front.Drain.Stop() // closes transports, also forwarded ones; their clients reconnect to another edge
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
		Token:   c.Admin.Token,
		Hosts:   c.Admin.Names(),
		Metrics: append(front.Metrics(), logMetrics),
		Log:     log,
	})
}

// pageURL returns the URL of the page for a person on this machine.
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

// How long clients may take. Polls and WebSockets stay open: the engine has timeouts of its own for them.
const (
	headerTimeout = 10 * time.Second // from the first byte of a request to the end of its header
	bodyTimeout   = 10 * time.Second // for a body that no handler reads; the engine sets its own for those that it reads
	idleTimeout   = 2 * time.Minute  // between two requests
	writeTimeout  = 10 * time.Second // for a response, in addition to the time that reading a POST may take
)

// newClientServer makes the server for clients.
func newClientServer(handler http.Handler, c engine.Config, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 0 {
				// Not ReadTimeout, which would end polls. net/http reads the rest of a body before it responds.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      c.PingInterval + c.PingTimeout + writeTimeout, // a poll gets a new one for its response
		MaxHeaderBytes:    16 << 10,                                      // as in Node.js; larger ones get 431
		// errors of clients, such as requests that are not HTTP
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// site is an HTTP server on its listener.
type site struct {
	name     string // the key of its address
	listener net.Listener
	server   *http.Server
}

// serve serves until stop is called. Its error is the listener's.
func (s *site) serve() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
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
		_ = s.server.Close() // its error is that of the log line
	}
}

// listen opens the listener of a key.
func listen(key, address string) (net.Listener, error) {
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
