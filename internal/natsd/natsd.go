// Package natsd runs a NATS server inside the process. It and natsdtest below it are the only packages that import
// nats-server.
package natsd

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"partyline/config"
)

// Config configures the embedded server.
type Config struct {
	Listen       string       // host:port for other NATS clients; port 0 picks a free one; "": only InProcessConn connects
	JetStreamDir string       // folder of JetStream's files, made if it is missing
	NeedsStreams bool         // without JetStreamDir, JetStream has a temporary folder; false leaves it off
	MaxPayload   int          // largest event in bytes; a message may be larger by Headroom. 0: NATS's default
	ServerConfig string       // a configuration file of nats-server, instead of Listen and JetStreamDir; "": none
	OnlyLoopback bool         // the file may let clients connect at a loopback address only
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
	silent bool   // it listens nowhere
	log    *slog.Logger
}

// Start runs a server and returns once it accepts connections. If it cannot listen, the error wraps the system's:
// errors.Is with syscall.EADDRINUSE finds a port in use.
func Start(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.JetStreamDir != "" || !c.NeedsStreams || c.ServerConfig != "" {
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

// start is Start with the folder as it is.
func (c Config) start() (*Server, error) {
	options, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	if !options.DontListen { // nats-server only logs why it cannot listen, so the address is tested first
		probe, err := net.Listen("tcp", net.JoinHostPort(options.Host, strconv.Itoa(max(options.Port, 0))))
		if err != nil {
			return nil, fmt.Errorf("natsd: %w", err)
		}
		if err := probe.Close(); err != nil {
			return nil, fmt.Errorf("natsd: %w", err)
		}
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	log := newBridge(c.Log)
	ns.SetLogger(log, false, false)
	s := &Server{ns: ns, log: c.Log, silent: options.DontListen}
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
	message := max(server.MAX_PAYLOAD_SIZE, c.MaxPayload+Headroom)
	if message > maxMessage {
		return nil, fmt.Errorf("events of %d bytes are too large: NATS takes at most %d", c.MaxPayload, maxMessage-Headroom)
	}
	o := &server.Options{JetStream: c.JetStreamDir != "", StoreDir: c.JetStreamDir}
	switch {
	case c.ServerConfig != "":
		var err error
		if o, err = c.fromFile(); err != nil {
			return nil, err
		}
	case c.Listen == "":
		o.DontListen = true
	default:
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return nil, err
		}
		if o.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("port %q is not a number", port)
		}
		o.Host, o.Port = host, cmp.Or(o.Port, server.RANDOM_PORT)
	}
	o.NoSigs = true // the program decides when it ends
	o.MaxPayload = cmp.Or(o.MaxPayload, int32(message))
	o.PingInterval, o.MaxPingsOut = cmp.Or(o.PingInterval, pingInterval), cmp.Or(o.MaxPingsOut, pingsMissed)
	return o, nil
}

// fromFile reads a configuration file of nats-server.
func (c Config) fromFile() (*server.Options, error) {
	o, err := server.ProcessConfigFile(c.ServerConfig)
	if err != nil { // a line for each fault, with its place
		return nil, fmt.Errorf("embedded.server_config: %s: %w", c.ServerConfig, err)
	}
	o.Port = cmp.Or(o.Port, server.DEFAULT_PORT)
	host := net.ParseIP(o.Host)
	switch {
	case c.OnlyLoopback && o.Host != "localhost" && !host.IsLoopback():
		return nil, fmt.Errorf("embedded.server_config: %s lets NATS clients connect from other machines (listen: %s), and without a "+
			"`namespaces` section everything is open to everyone; declare namespaces, or write listen: 127.0.0.1:%d",
			c.ServerConfig, net.JoinHostPort(cmp.Or(o.Host, "0.0.0.0"), strconv.Itoa(o.Port)), o.Port)
	case c.NeedsStreams && !o.JetStream:
		return nil, fmt.Errorf("embedded.server_config: %s has no JetStream, which recovery and rewind need; "+
			"write jetstream { store_dir: \"/var/lib/nats\" }", c.ServerConfig)
	}
	return o, nil
}

// Inside runs the server that the configuration of an edge describes.
func Inside(c config.Config, log *slog.Logger) (*Server, error) {
	s, err := Start(Config{
		Listen: c.Embedded.Listen, JetStreamDir: c.Embedded.JetStream.Dir, NeedsStreams: c.LogAge() > 0, MaxPayload: c.Engine.MaxPayload,
		ServerConfig: c.Embedded.ServerConfig, OnlyLoopback: c.Open, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if s.folder != "" {
		log.Warn("clients recover only while this process runs: JetStream keeps their events in a temporary folder; "+
			"name a folder in embedded.jetstream.dir to keep them", "folder", s.folder)
	}
	if c.Embedded.ServerConfig != "" && !s.asksForCredentials() {
		log.Warn("the NATS inside asks for no credentials: any client that reaches it can publish and read everything",
			"url", s.ClientURL(), "embedded.server_config", c.Embedded.ServerConfig)
	}
	return s, nil
}

// asksForCredentials reports whether clients from outside need credentials.
func (s *Server) asksForCredentials() bool {
	about, err := s.ns.Varz(nil)
	return err == nil && about.AuthRequired
}

// ClientURL returns where other NATS clients connect: "nats://127.0.0.1:4222", with the real port; "" if none can.
func (s *Server) ClientURL() string {
	if s.silent {
		return ""
	}
	return s.ns.ClientURL()
}

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
