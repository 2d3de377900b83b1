// Package partyline serves Socket.IO clients in a Go program: a Server is an http.Handler, as `new Server(httpServer)`
// is a part of a Node.js program. It holds the connections of unmodified clients. Services, which package backend
// makes, handle their events over NATS: in the same program, or in others.
//
// NATS runs inside the process, or is the program's own (Options.Conn). With NATS of its own a program can have any
// number of copies, beside cmd/edge: rooms, emits and acks work across all of them.
package partyline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/config"
	"partyline/internal/front"
	"partyline/internal/natsd"
)

// Options configure a Server. The zero Options have NATS inside, and leave all clients to services.
type Options struct {
	// Conn is a connection to NATS. The services of Backend use it. The server connects once more to the same servers
	// with the same credentials, since an edge has a pace and callbacks of its own, and closes only that connection.
	// Conn stays the caller's: close it behind Shutdown. Its user needs the permissions of an edge and of a service
	// (docs/subjects.md). nil: a NATS server runs inside the process, until Shutdown.
	Conn *nats.Conn

	// Config is the configuration in YAML, as docs/configuration.md explains it. Keys of what a program has itself
	// (listen, tls, page, admin, log, nats.url) are faults. Two defaults differ: namespaces are {"*": {connect: service}},
	// and limits.memory is 0. With NATS inside, embedded.listen is where other NATS clients connect: nowhere by default.
	Config string

	// Environ has the same settings as PARTYLINE_… variables, such as os.Environ() has; they win over Config. nil: none.
	Environ []string

	// Log gets what the server and its services log. nil: slog.Default().
	Log *slog.Logger
}

// Server holds the connections of clients. Its methods may be called from several goroutines.
type Server struct {
	front  *front.Front
	config config.Config
	log    *slog.Logger
	inside *natsd.Server // nil: NATS is elsewhere
	nc     *nats.Conn    // of services

	mu       sync.RWMutex
	ended    bool               // guarded by mu: no request is served any more
	services []*backend.Service // guarded by mu: those of Backend
	requests sync.WaitGroup     // added to with mu held for reading
	once     sync.Once          // for Shutdown
}

// NewServer starts a server. The caller must call Shutdown. Faults in Config are returned all at once. If the NATS of
// Options.Conn cannot be reached, that is no error: the server keeps trying, and says so in Ready.
func NewServer(o Options) (*Server, error) {
	s := &Server{log: o.Log, nc: o.Conn}
	if s.log == nil {
		s.log = slog.Default()
	}
	loaded, err := config.Parse(config.FlavourServer, "Options.Config", o.Config, o.Environ)
	if err != nil {
		return nil, fmt.Errorf("partyline: %w", err)
	}
	for _, warning := range loaded.Warnings {
		s.log.Warn(warning)
	}
	s.config = loaded.Config
	if err := s.start(); err != nil {
		s.end()
		return nil, fmt.Errorf("partyline: %w", err)
	}
	return s, nil
}

// start brings up NATS, unless it is elsewhere, and the edge.
func (s *Server) start() (err error) {
	set := front.Settings{Config: s.config, Version: version(), Log: s.log}
	switch {
	case s.nc == nil:
		if s.inside, err = natsd.Inside(s.config, s.log); err != nil {
			return err
		}
		if s.nc, err = nats.Connect("", nats.InProcessServer(s.inside), nats.Name("partyline services")); err != nil {
			return err
		}
		set.NATS = s.inside
	case s.config.Embedded != config.Embedded{}:
		return errors.New("the keys below embedded are for NATS inside the process, and Options.Conn says where NATS is: remove one of them")
	default:
		c := &set.Config.NATS
		c.Like, c.URL = s.nc, strings.Join(s.nc.Opts.Servers, ",") // the URL is for the log
		if inbox := s.nc.Opts.InboxPrefix; inbox != "" {
			c.ReplyPrefixes = append(c.ReplyPrefixes, inbox+".>") // the services get their answers there
		}
	}
	s.front, err = front.New(set)
	return err
}

// ServeHTTP serves clients below the configured path, which is /socket.io/ unless Config has another. Mount the server
// at that path, without http.StripPrefix.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	ended := s.ended
	if !ended {
		s.requests.Add(1)
		defer s.requests.Done()
	}
	s.mu.RUnlock()
	if ended {
		http.Error(w, "This server has shut down.", http.StatusServiceUnavailable)
		return
	}
	s.front.Handler.ServeHTTP(w, r)
}

// Backend makes a service that handles the events of clients, with the prefix, the secret and the log of the server. It
// is over Options.Conn, or over NATS inside. Group names all copies of the service together, also those in other
// programs. Register handlers, then call Start. Shutdown closes the service. Backend panics if backend.New refuses the
// group or an option.
func (s *Server) Backend(group string, options ...backend.Option) *backend.Service {
	defaults := []backend.Option{backend.Logger(s.log), backend.Prefix(s.config.NATS.Prefix)}
	if secret := s.config.Edges.Secret; secret != "" {
		defaults = append(defaults, backend.EdgesSecret(secret))
	}
	io, err := backend.New(s.nc, group, append(defaults, options...)...)
	if err != nil {
		panic(fmt.Sprintf("partyline: Backend(%q): %v", group, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services = append(s.services, io)
	return io
}

// Ready returns why clients should not come now; nil if they may.
func (s *Server) Ready() []string { return s.front.Ready() }

// Shutdown ends the server, from the outside to the inside. It takes no new sessions, and closes the transports of the
// existing ones, as fast as drain.rate and drain.timeout say; their clients reconnect, and reach another edge if there
// is one. When ctx's deadline passes, it closes the rest at once. Then it handles the last events, closes the services
// of Backend, and ends NATS inside. It also ends at once if ctx has been cancelled. Its error is that of services that
// did not finish. Requests that come later get 503. Call it before http.Server.Shutdown, which would wait for polls.
func (s *Server) Shutdown(ctx context.Context) (err error) {
	s.once.Do(func() {
		s.front.Drain.Stop(ctx)
		s.mu.Lock()
		s.ended = true
		services := s.services
		s.mu.Unlock()
		s.front.Engine.Abort() // also ends the requests
		s.front.Forward.Abort()
		s.requests.Wait()
		s.front.Leave()
		for _, io := range services {
			err = errors.Join(err, io.Close(ctx))
		}
		s.end()
	})
	return err
}

// end ends NATS inside.
func (s *Server) end() {
	if s.inside == nil {
		return
	}
	if s.nc != nil {
		s.nc.Close()
	}
	s.inside.Shutdown()
}

// version returns the version of this module in the program; "devel" if it is unknown.
func version() string {
	path := reflect.TypeFor[Server]().PkgPath()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range append(info.Deps, &info.Main) {
			if module.Path == path && module.Version != "" && module.Version != "(devel)" {
				return module.Version
			}
		}
	}
	return "devel"
}
