package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"partyline/admin"
	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/engine"
	"partyline/internal/tally"
)

// serve runs the program until ctx ends or a part fails, and returns when all parts have ended. They start from the
// inside to the outside (NATS, listeners, pages, clients) and end in the opposite order. Of the HTTP servers the
// operator's ends last, so that the operator can watch the end.
func serve(ctx context.Context, f Flavour, s program.Start) error {
	c, log := s.Config, s.Log
	var nats NATS
	if f.StartNATS != nil {
		var err error
		if nats, err = startNATS(f, c, log); err != nil {
			return err
		}
		defer nats.Shutdown()
	}

	listeners, err := listenAll(c)
	if err != nil {
		return err
	}
	defer listeners.close() // for the errors below; their servers close them
	edge, err := newEdge(f, c, nats, log)
	if err != nil {
		return err
	}
	defer edge.Leave()
	if f.OpenGateway != nil && c.HasWork() {
		if edge.gateway, err = f.OpenGateway(c, nats, log); err != nil {
			return err
		}
		defer edge.gateway.Close()
	}
	sites, err := newSites(s, edge, listeners)
	if err != nil {
		return err
	}
	failed, wait := program.ServeAll(sites)
	defer wait()
	for _, site := range sites {
		defer site.Stop(log)
	}
	refused, stop := edge.startGateway(ctx)
	defer stop()
	defer s.Reloads.Begin(edge.prepare)()
	defer edge.endTail()
	page := pageURL(c, listeners.clients.Addr())
	log.Info("listening", places(c, nats, sites, listeners, page, edge.Limiter.Max())...)
	tell(c, log, page, nats)
	select {
	case err = <-failed:
	case err = <-refused:
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	}
	edge.Drain.Stop(context.Background()) // closes transports, also forwarded ones; their clients reconnect to another edge
	return err
}

// places are the attributes of the line that says where the program listens.
func places(c config.Config, nats NATS, sites []*program.Site, on *listeners, page string, connections int) []any {
	all := []any{"version", program.Version()}
	if nats != nil {
		all = append(all, "nats", nats.ClientURL())
	}
	for _, site := range sites {
		if site.Name == gatewayListen {
			all = append(all, "gateway", site.Listener.Addr().String())
		}
	}
	if c.Page {
		all = append(all, "page", page)
	}
	return append(all, "address", on.clients.Addr().String(), "admin", on.admin.Addr().String(), "connections", connections)
}

// newSites makes the servers, in the order in which they start: the operator's first, so that it ends last.
func newSites(s program.Start, edge *edge, on *listeners) ([]*program.Site, error) {
	c, log := s.Config, s.Log
	metrics := append(edge.Metrics(), s.Metrics)
	if edge.certificate != nil {
		metrics = append(metrics, edge.certificate.metrics())
	}
	if edge.gateway != nil {
		metrics = append(metrics, edge.gateway.Metrics()...)
	}
	pages, err := newPages(s, edge, metrics)
	if err != nil {
		return nil, err
	}
	sites := []*program.Site{{Name: "admin.listen", Listener: on.admin, Server: admin.NewServer(pages, log)}}
	if on.edges != nil {
		edges := newServer(edge.Forward, c.Engine, log)
		edges.IdleTimeout = edgesIdleTimeout
		sites = append(sites, &program.Site{
			Name: "edges.listen", Listener: edge.Limiter.Listen(on.edges), Server: edges, Limiter: edge.Limiter,
		})
	}
	clients := newServer(edge.hangingUp(edge.Handler), c.Engine, log)
	if edge.certificate != nil {
		clients.TLSConfig = edge.certificate.config()
	}
	if edge.gateway != nil {
		site, err := edge.gateway.Site(c, log)
		if err != nil {
			return nil, err
		}
		if site != nil {
			site.Listener, site.Limiter = edge.Limiter.Listen(site.Listener), edge.Limiter
			sites = append(sites, site)
		}
	}
	return append(sites, &program.Site{
		Name: "listen", Listener: edge.Limiter.Listen(on.clients), Server: clients, Limiter: edge.Limiter,
	}), nil
}

// newPages makes the operator's pages.
func newPages(s program.Start, edge *edge, metrics []*tally.Set) (http.Handler, error) {
	c := s.Config
	return admin.NewHandler(admin.Options{
		Version: program.Version(),
		Ready:   edge.ready,
		Edges:   edge.edges,
		Drain:   edge.Drain,
		Reload:  s.Reloads.Reload,
		Pprof:   c.Admin.Pprof,
		Token:   c.Admin.Token,
		Hosts:   c.Admin.Names(),
		Metrics: metrics,
		Log:     s.Log,
	})
}

// tell writes what to do next, for a person who started the program without a configuration.
func tell(c config.Config, log *slog.Logger, page string, nats NATS) {
	if !c.Open || !c.Page {
		return
	}
	server := ""
	if url := nats.ClientURL(); url != "nats://127.0.0.1:4222" { // the command's default
		server = "-s " + url + " "
	}
	program.Tell(log, fmt.Sprintf("\n  Open %s in two tabs, and press Join in both. Then, in another terminal:\n"+
		"  nats %spub %s.chat_room.emit.room.room '[\"message\",\"hello from NATS\"]'\n\n", page, server, c.NATS.Prefix))
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
	if errors.As(err, &network) && c.Embedded.ServerConfig == "" {
		return nil, program.ListenError("embedded.listen", c.Embedded.Listen, err)
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
		if *l.listener, err = program.OpenListener(l.key, l.address); err != nil {
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
