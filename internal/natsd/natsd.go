// Package natsd runs a NATS server inside the process. It and natsdtest below it are the only packages that import
// nats-server.
package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Config is the embedded server.
type Config struct {
	Listen       string       // host:port for other NATS clients; port 0 picks a free one
	JetStreamDir string       // folder of JetStream's files, made if it is missing; "" leaves JetStream off
	MaxPayload   int          // largest event in bytes; the server takes messages that are Headroom larger. 0: NATS's default
	Log          *slog.Logger // nil logs nothing
}

// Headroom is what a NATS message may be larger than the event in it, in bytes: its headers.
const Headroom = 64 << 10

// maxMessage is as much as nats-server takes: the bytes that may be pending for one client.
const maxMessage = server.MAX_PENDING_SIZE

// A client that died without a word is taken for dead after 15 to 20 seconds: until then it gets its share of what the queue
// groups of services get. nats-server's own default is two minutes. deploy/nats.conf has the same.
const (
	pingInterval = 5 * time.Second
	pingsMissed  = 2
)

// startTimeout bounds the wait for a server that has begun to start. JetStream reads its folder in this time.
const startTimeout = 30 * time.Second

// Server is a running NATS server. Its methods may be called from several goroutines.
type Server struct{ ns *server.Server }

// Start runs a server and returns once it takes connections. The error wraps the system's where the address cannot be
// listened on, so that errors.Is(err, syscall.EADDRINUSE) tells a port in use.
func Start(c Config) (*Server, error) {
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	// nats-server only logs why it cannot listen, so the address is tried before.
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
	s := &Server{ns}
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

// ClientURL is where other NATS clients connect: "nats://127.0.0.1:4222", with the real port.
func (s *Server) ClientURL() string { return s.ns.ClientURL() }

// InProcessConn opens a connection that passes no socket. It makes Server fit nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) {
	conn, err := s.ns.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	return conn, nil
}

// Shutdown closes all connections and returns when the server has ended. Calling it again does nothing.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}
