// Package natsdtest runs real NATS servers on free ports for tests: alone or as a cluster, with or without
// authentication. They can be stopped and started again on the same port.
package natsdtest

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	host = "127.0.0.1"
	// deadline bounds each wait. It is long because test machines are slow.
	deadline = 20 * time.Second
	poll     = 5 * time.Millisecond
)

// Server is a NATS server of one test. It is safe for concurrent use. Methods that can fail end the test, so only the
// test's own goroutine may call them.
type Server struct {
	t testing.TB

	mu      sync.Mutex
	options *server.Options // guarded by mu; with the real ports once the server has run
	ns      *server.Server  // guarded by mu; nil while the server is stopped
}

// Start runs a server on a free port of 127.0.0.1 until the test ends. conf is text in the syntax of a nats-server
// configuration file, such as
//
//	authorization { users: [ {user: a, password: b, permissions: {publish: "sio.>"}} ] }
//	jetstream { store_dir: "/tmp/x" }
func Start(t testing.TB, conf ...string) *Server {
	t.Helper()
	s := prepare(t, conf)
	s.start()
	return s
}

// StartCluster runs n servers and returns when all are connected with one another. conf is as for Start and applies
// to each; in a store_dir of JetStream each has a folder of its own.
func StartCluster(t testing.TB, n int, conf ...string) []*Server {
	t.Helper()
	servers := make([]*Server, n)
	var routes []*url.URL
	for i := range servers {
		s := prepare(t, conf)
		s.options.ServerName = fmt.Sprintf("server-%d", i)
		if s.options.StoreDir != "" {
			s.options.StoreDir = filepath.Join(s.options.StoreDir, s.options.ServerName)
		}
		s.options.Cluster = server.ClusterOpts{Name: "natsdtest", Host: host, Port: server.RANDOM_PORT}
		s.options.Routes = routes
		for port := 1; s.options.JetStream && len(s.options.Routes) < n-1; port++ {
			// JetStream wants to know the size of the cluster. Nobody listens here.
			s.options.Routes = append(s.options.Routes[:len(s.options.Routes):len(s.options.Routes)],
				&url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(port))})
		}
		s.start()
		routes = append(routes[:len(routes):len(routes)], &url.URL{Scheme: "nats", Host: s.ns.ClusterAddr().String()})
		servers[i] = s
	}
	for i, s := range servers { // for a restart: the others may not connect to it by themselves then
		s.options.Routes = append(append([]*url.URL{}, routes[:i]...), routes[i+1:]...)
	}
	WaitForRoutes(t, servers...)
	return servers
}

// WaitForRoutes waits until servers, all the running ones of a cluster, are connected with one another and with no
// others. Call it after Stop and Restart.
func WaitForRoutes(t testing.TB, servers ...*Server) {
	t.Helper()
	var missing string
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(poll) {
		missing = ""
		for _, s := range servers {
			others := len(servers) - 1
			remotes, routes, connections := s.routes()
			if remotes != others || routes != others*connections {
				missing += fmt.Sprintf("; %s has %d routes to %d servers", s.options.ServerName, routes, remotes)
			}
		}
		if missing == "" {
			return
		}
	}
	t.Fatalf("natsdtest: no full cluster of %d servers within %s%s", len(servers), deadline, missing)
}

// routes returns how many servers this one is connected with, its connections to all of them, and those to each.
func (s *Server) routes() (remotes, routes, connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return 0, 0, 1
	}
	return s.ns.NumRemotes(), s.ns.NumRoutes(), s.options.Cluster.PoolSize + len(s.options.Cluster.PinnedAccounts)
}

// prepare makes a server that is not started yet.
func prepare(t testing.TB, conf []string) *Server {
	t.Helper()
	options := &server.Options{}
	if text := strings.Join(conf, "\n"); strings.TrimSpace(text) != "" {
		if err := options.ProcessConfigString(text); err != nil {
			t.Fatalf("natsdtest: %v", err)
		}
	}
	options.Host, options.Port = host, server.RANDOM_PORT
	options.NoLog, options.NoSigs = true, true
	s := &Server{t: t, options: options}
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	options := s.options.Clone() // the server changes its options
	ns, err := server.NewServer(options)
	if err != nil {
		s.t.Fatalf("natsdtest: %v", err)
	}
	ns.Start()
	if !ns.ReadyForConnections(deadline) {
		ns.Shutdown()
		ns.WaitForShutdown()
		s.t.Fatalf("natsdtest: no server on port %d within %s", options.Port, deadline)
	}
	known := options.Clone() // the server goes on reading its own
	known.Port = ns.Addr().(*net.TCPAddr).Port
	if address := ns.ClusterAddr(); address != nil {
		known.Cluster.Port = address.Port
	}
	s.options, s.ns = known, ns
}

// Reload changes the configuration, as nats-server does on a signal: connections stay.
func (s *Server) Reload(conf string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	options := &server.Options{}
	if err := options.ProcessConfigString(conf); err != nil {
		s.t.Fatalf("natsdtest: %v", err)
	}
	options.Host, options.Port, options.NoLog, options.NoSigs = host, s.options.Port, true, true
	if s.ns != nil {
		if err := s.ns.ReloadOptions(options.Clone()); err != nil {
			s.t.Fatalf("natsdtest: reload: %v", err)
		}
	}
	s.options = options
}

// Stop ends the server, for its clients as a crash would, and waits until it has ended. Further calls have no effect.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return
	}
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	s.ns = nil
}

// Restart stops the server if it runs and starts it again on the same port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// ClientURL returns where clients connect. It survives Restart, and is valid while the server is stopped.
func (s *Server) ClientURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("nats://%s:%d", host, s.options.Port)
}

// Connections returns how many clients are connected, including those whose connection has broken unnoticed.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return 0
	}
	return s.ns.NumClients()
}

// InProcessConn opens a connection without a socket. It implements nats.InProcessServer.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns == nil {
		return nil, net.ErrClosed
	}
	return s.ns.InProcessConn()
}
