// Package natsd runs a NATS server inside the process. It and natsdtest below it are the only packages that import
// nats-server.
package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config configures the embedded server.
type Config struct {
	Listen       string       // host:port for other NATS clients; port 0 picks a free one
	JetStreamDir string       // folder of JetStream's files, made if it is missing
	NeedsStreams bool         // without JetStreamDir, JetStream has a temporary folder; false leaves it off
	MaxPayload   int          // largest event in bytes; a message may be larger by Headroom. 0: NATS's default
	Log          *slog.Logger // nil logs nothing
}

// Headroom is the room for headers, in bytes: how much larger a NATS message may be than the event in it.
const Headroom = 64 << 10

// maxMessage is the largest message that nats-server takes: the bytes that may be pending for one client.
const maxMessage = server.MAX_PENDING_SIZE

// nats-server finds a client whose connection has broken after 15 to 20 seconds. Until then the client still receives
// its share of what the queue groups of services receive. nats-server's own default is two minutes. deploy/nats.conf
// has the same values.
const (
	pingInterval = 5 * time.Second
	pingsMissed  = 2
)

// startTimeout bounds the wait for the server to start. JetStream reads its folder in this time.
const startTimeout = 30 * time.Second

// Server is a running NATS server. It is safe for concurrent use.
type Server struct {
	ns     *server.Server
	folder string // temporary folder of JetStream, or ""
	log    *slog.Logger
}

// Start runs a server and returns once it accepts connections. If it cannot listen, the error wraps the system's:
// errors.Is with syscall.EADDRINUSE finds a port in use.
func Start(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.JetStreamDir != "" || !c.NeedsStreams {
		return c.start()
	}
	folder, err := os.MkdirTemp("", "partyline-jetstream-")
	if err != nil {
		return nil, fmt.Errorf("natsd: no temporary folder for JetStream (set TMPDIR, or embedded.jetstream.dir): %w", err)
	}
	c.JetStreamDir = folder
	s, err := c.start()
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	s.folder = folder
	return s, nil
}

// Temporary returns the temporary folder of JetStream, or "".
func (s *Server) Temporary() string { return s.folder }

// start is Start with the folder as it is.
func (c Config) start() (*Server, error) {
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	// nats-server only logs why it cannot listen, so the address is tested first.
	if probe, err := net.Listen("tcp", c.Listen); err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	} else if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	log := newBridge(c.Log)
	ns.SetLogger(log, false, false)
	s := &Server{ns: ns, log: c.Log}
	ns.Start()
	for end := time.Now().Add(startTimeout); !ns.ReadyForConnections(50 * time.Millisecond); {
		if fatal := log.fatal(); fatal != "" {
			s.Shutdown()
			return nil, errors.New("natsd: " + fatal)
		}
		if time.Now().After(end) {
			s.Shutdown()
			return nil, fmt.Errorf("natsd: the server was not ready within %s", startTimeout)
		}
	}
	return s, nil
}

// options translates the configuration.
func (c Config) options() (*server.Options, error) {
	host, portText, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("port %q is not a number", portText)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	message := max(server.MAX_PAYLOAD_SIZE, c.MaxPayload+Headroom)
	if message > maxMessage {
		return nil, fmt.Errorf("events of %d bytes are too large: NATS takes at most %d", c.MaxPayload, maxMessage-Headroom)
	}
	return &server.Options{
		Host:         host,
		Port:         port,
		NoSigs:       true, // the program decides when it ends
		MaxPayload:   int32(message),
		PingInterval: pingInterval,
		MaxPingsOut:  pingsMissed,
		JetStream:    c.JetStreamDir != "",
		StoreDir:     c.JetStreamDir,
	}, nil
}

// ClientURL returns where other NATS clients connect: "nats://127.0.0.1:4222", with the real port.
func (s *Server) ClientURL() string { return s.ns.ClientURL() }

// InProcessConn opens a connection without a socket. It implements nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) {
	conn, err := s.ns.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	return newPump(conn), nil
}

// Shutdown closes all connections, waits until the server has ended, and removes JetStream's temporary folder. Further
// calls have no effect.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	if err := os.RemoveAll(s.folder); err != nil { // does nothing without one
		s.log.Warn("temporary folder not removed", "folder", s.folder, "error", err)
	}
}

// bridge writes nats-server's log to log. Notices of NATS (each start, the banner of JetStream) help only in
// debugging; the program itself logs where NATS listens.
type bridge struct {
	log *slog.Logger

	mu        sync.Mutex
	lastFatal string // guarded by mu; nats-server goes on after a fatal error, but its caller must not
}

func newBridge(log *slog.Logger) *bridge { return &bridge{log: log.With("from", "nats-server")} }

// fatal returns the first error that kept the server from starting, or "".
func (b *bridge) fatal() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastFatal
}

// The methods below implement nats-server's Logger.

func (b *bridge) Noticef(format string, v ...any) { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Debugf(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Tracef(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Warnf(format string, v ...any)   { b.log.Warn(fmt.Sprintf(format, v...)) }
func (b *bridge) Errorf(format string, v ...any)  { b.log.Warn(fmt.Sprintf(format, v...)) }

func (b *bridge) Fatalf(format string, v ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lastFatal == "" {
		b.lastFatal = fmt.Sprintf(format, v...)
	}
}
