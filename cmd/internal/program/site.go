package program

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

	"partyline/config"
	"partyline/internal/listen"
)

// stopTimeout bounds how long an HTTP server waits for the requests in progress.
const stopTimeout = 5 * time.Second

// Site is an HTTP server on its listener.
type Site struct {
	Name     string // the key of its address
	Listener net.Listener
	Server   *http.Server
	Limiter  *listen.Limiter // of the listener, or nil
}

// ServeAll serves until all sites are stopped. failed gets the errors of listeners; wait waits for the end.
func ServeAll(sites []*Site) (failed <-chan error, wait func()) {
	errs := make(chan error, len(sites))
	var running sync.WaitGroup
	for _, s := range sites {
		running.Go(func() {
			if err := s.Serve(); err != nil {
				errs <- err
			}
		})
	}
	return errs, running.Wait
}

// Serve serves until Stop is called. Its error is the listener's.
func (s *Site) Serve() error {
	if s.Limiter != nil {
		s.Server.ConnState = s.Limiter.Track
	}
	serve := s.Server.Serve
	if s.Server.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.Server.ServeTLS(l, "", "") }
	}
	if err := serve(s.Listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// Stop accepts no more requests, waits for those in progress, and ends the rest after stopTimeout.
func (s *Site) Stop(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Server.Shutdown(ctx); err != nil {
		log.Warn("requests cut off", "key", s.Name, "error", err)
		if s.Limiter != nil {
			s.Limiter.Cut() // Close waits for each connection that TLS ends with a last record
		}
		_ = s.Server.Close() // its error is that of the log line
	}
}

// OpenListener opens the listener of a key.
func OpenListener(key, address string) (net.Listener, error) {
	// No TCP keep-alive, which costs four system calls a connection: heartbeats find clients that are gone, and idle
	// connections time out.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, ListenError(key, address, err)
	}
	return l, nil
}

// ListenError explains why listening failed, and which key to change.
func ListenError(key, address string, err error) error {
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
