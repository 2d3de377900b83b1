// Package gateways runs gateways: the program cmd/gateway, and the gateway inside cmd/embedded.
package gateways

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/gateway"
	"partyline/gateway/adminui"
	"partyline/gateway/api"
	"partyline/gateway/hook"
	"partyline/internal/natsconn"
	"partyline/internal/redact"
	"partyline/internal/throttle"
)

// closeTimeout bounds how long a gateway takes to hand its sockets to others, once their events are handled.
const closeTimeout = 20 * time.Second

// Gateway is a gateway with its connection to NATS.
type Gateway struct {
	*gateway.Gateway
	nc       *nats.Conn
	log      *slog.Logger
	credited string // the kind of credentials, for the log
	urls     string
	ended    chan struct{} // closed when nats.go has ended the connection
}

// Open makes a gateway as the configuration says. inside is a NATS server in the process; nil if NATS is elsewhere. An
// unreachable server is no error. The caller must call Close.
func Open(c config.Config, inside nats.InProcessConnProvider, log *slog.Logger) (*Gateway, error) {
	g := &Gateway{log: log, credited: c.NATS.Identity(), urls: c.NATS.URL, ended: make(chan struct{})}
	options, err := c.NATS.Options("gateway")
	if err != nil {
		return nil, err
	}
	complaints, shown := throttle.New(log), redact.URLs(c.NATS.URL)
	options = append(options,
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("the gateway is connected to NATS", "server", nc.ConnectedServerName(), "url", shown)
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("the gateway is connected to NATS again", "url", shown) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the gateway lost its connection to NATS, trying again", "error", g.shown(err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			complaints.Log(slog.LevelError, "NATS refused something", subject, err.Error(), "subscription", subject, "error", g.shown(err))
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(g.ended) }),
	)
	url := c.NATS.URL
	if inside != nil {
		options, url = append(options, nats.InProcessServer(inside)), ""
	}
	if g.nc, err = nats.Connect(url, options...); err != nil { // its text only: it may repeat the URL
		return nil, fmt.Errorf("connect to NATS at %s: %s", shown, g.shown(err))
	}
	o := optionsOf(c, log)
	if o.UI, err = uiOf(c); err == nil {
		g.Gateway, err = gateway.New(g.nc, o)
	}
	if err != nil {
		g.nc.Close()
		<-g.ended
		return nil, err
	}
	return g, nil
}

// shown returns the text of an error of nats.go for the log. Some repeat a URL.
func (g *Gateway) shown(err error) string { return redact.Text(err.Error(), g.urls) }

// Prepare returns what makes the gateway go on with another configuration, which differs only in what reloads
// (config.Running), or an error about what that names.
func (g *Gateway) Prepare(c config.Config) (use func(), err error) {
	o := optionsOf(c, g.log)
	if o.UI, err = uiOf(c); err != nil {
		return nil, err
	}
	return g.Gateway.Prepare(o)
}

// optionsOf returns the gateway's part of a configuration.
func optionsOf(c config.Config, log *slog.Logger) gateway.Options {
	o := gateway.Options{
		Prefix: c.NATS.Prefix, Group: c.Gateway.Group, Secret: c.Edges.Secret, UserRoom: c.Gateway.UserRoom, Log: log,
		RequestsPerSecond: c.API.RequestsPerSecond,
	}
	for _, k := range c.API.Keys {
		o.Keys = append(o.Keys, api.Key(k))
	}
	for _, h := range c.Hooks {
		o.Hooks = append(o.Hooks, hook.Hook{
			Namespaces: h.Namespaces, Events: h.Events, URLs: h.URLs, Secrets: h.Secrets, Timeout: h.Timeout,
			Concurrency: h.Concurrency, DenyPrivate: h.DenyPrivate,
		})
	}
	return o
}

// uiOf returns the Admin UI's part of a configuration; nil if it has none.
func uiOf(c config.Config) (*adminui.Options, error) {
	if !c.HasUI() {
		return nil, nil
	}
	o := &adminui.Options{Loopback: c.Open, Readonly: c.UI.ReadOnly, URL: c.UI.URL, Secret: c.Edges.Secret}
	if c.UI.UsersFile != "" {
		text, err := os.ReadFile(c.UI.UsersFile)
		if err == nil {
			o.Users, err = adminui.ReadUsers(string(text))
		}
		if err != nil {
			return nil, fmt.Errorf("ui.users_file %[1]s: %w", c.UI.UsersFile, err)
		}
		if len(o.Users) == 0 && !o.Loopback {
			return nil, fmt.Errorf("ui.users_file %[1]s: it has no users: add one with `gateway user NAME >>%[1]s`", c.UI.UsersFile)
		}
	}
	return o, nil
}

const (
	connectEvery = 50 * time.Millisecond  // how often Start looks whether NATS is there
	troubleAfter = 500 * time.Millisecond // from then on it says why not
)

// Start waits for NATS, and starts the gateway. It returns nil if ctx ends before.
func (g *Gateway) Start(ctx context.Context) error {
	complaints, since := throttle.New(g.log), time.Now()
	for !g.nc.IsConnected() {
		if err := g.nc.LastError(); err != nil && time.Since(since) > troubleAfter {
			what, _ := natsconn.Explain(err, g.credited)
			complaints.Log(slog.LevelWarn, what, "", "", "url", redact.URLs(g.urls), "error", g.shown(err))
		}
		select {
		case <-time.After(connectEvery):
		case <-ctx.Done():
			return nil
		}
	}
	if err := g.Gateway.Start(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// Close ends the gateway and its connection. Its sockets go to other gateways.
func (g *Gateway) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := g.Gateway.Close(ctx); err != nil {
		g.log.Warn("the gateway left before all events were handled", "error", err)
	}
	g.nc.Close()
	<-g.ended
}

// Site opens the listener of the HTTP API and the Admin UI; nil if the configuration has none.
func (g *Gateway) Site(c config.Config, log *slog.Logger) (*program.Site, error) {
	if c.Gateway.Listen == "" {
		return nil, nil
	}
	l, err := program.OpenListener("gateway.listen", c.Gateway.Listen)
	if err != nil {
		return nil, err
	}
	return &program.Site{Name: "gateway.listen", Listener: l, Server: NewServer(g.Handler(), log)}, nil
}

// Bounds of requests to the HTTP API.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = time.Minute     // to read a request
	answerTimeout  = 2 * time.Minute // an ask, or a batch, takes up to one
	idleTimeout    = time.Minute
	restTimeout    = time.Second // for a body that no handler reads: net/http reads it before it responds
	maxHeaderBytes = 16 << 10
)

// NewServer makes the server of the HTTP API and the Admin UI.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength != 0 {
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTimeout))
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
