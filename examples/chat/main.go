// Command chat is a chat as a service behind Partyline's edges: nicknames, rooms with who is in them and their last
// lines, typing, direct messages. It holds no client's connection, and keeps nothing that another instance does not
// find: run several, stop and replace them as you like. README.md explains how.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/backend"
)

// settings come from the environment.
type settings struct {
	NATS   string // NATS_URL
	Page   string // PAGE_LISTEN: where the page is served, such as ":3010"; "" serves none
	Secret string // PARTYLINE_EDGES_SECRET: what the edges sign their announcements with; "": they do not
	Edge   string // EDGE_URL: where browsers reach the edges; "": at the page's own host, behind one proxy

	Replicas int // REPLICAS: how many NATS servers of a cluster keep nicknames; 0 is one
}

// leaving bounds how long an instance takes to hand its sockets to others.
const leaving = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := fromEnvironment()
	what := "cannot run"
	if err == nil && len(os.Args) == 2 && os.Args[1] == "--health" {
		what, err = "unhealthy", health(ctx, s)
	} else if err == nil {
		err = run(ctx, s, slog.Default())
	}
	if err != nil {
		slog.Error(what, "error", err)
		os.Exit(1)
	}
}

func fromEnvironment() (settings, error) {
	s := settings{NATS: cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL), Page: os.Getenv("PAGE_LISTEN"),
		Edge: os.Getenv("EDGE_URL"), Secret: os.Getenv("PARTYLINE_EDGES_SECRET")}
	if text := os.Getenv("REPLICAS"); text != "" {
		var err error
		if s.Replicas, err = strconv.Atoi(text); err != nil {
			return settings{}, fmt.Errorf("REPLICAS %q is no number", text)
		}
	}
	return s, nil
}

// run runs one instance until ctx ends.
func run(ctx context.Context, s settings, log *slog.Logger) error {
	nc, err := nats.Connect(s.NATS, nats.Name("chat"), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond),
		nats.CustomInboxPrefix("_INBOX.chat"), // NATS need not let this service read answers to others
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS", "error", err) }))
	if err != nil {
		var bad *url.Error // it contains the URL, and with it a password
		if errors.As(err, &bad) {
			err = errors.New("it is not a URL")
		}
		return fmt.Errorf("cannot connect to the server of NATS_URL: %w", err)
	}
	defer nc.Close()
	store, err := openStore(ctx, nc, s.Replicas)
	for tries := 1; errors.Is(err, context.DeadlineExceeded) && tries < 6; tries++ {
		log.Info("JetStream does not answer yet") // a cluster that has just started elects leaders first
		store, err = openStore(ctx, nc, s.Replicas)
	}
	if err != nil {
		return err
	}
	options := []backend.Option{backend.Logger(log)}
	if s.Secret != "" {
		options = append(options, backend.EdgesSecret(s.Secret))
	}
	io, err := backend.New(nc, "chat", options...)
	if err != nil {
		return err
	}
	register(io, store, log)
	if err := io.Start(ctx); err != nil {
		return err
	}
	endPage, err := servePage(s, log)
	if err == nil {
		log.Info("ready", "instance", io.Instance())
		<-ctx.Done()
		endPage()
	}
	last, cancel := context.WithTimeout(context.Background(), leaving)
	defer cancel()
	return errors.Join(err, io.Close(last))
}

// openStore opens what all instances share. The first one ever creates it.
func openStore(ctx context.Context, nc *nats.Conn, replicas int) (store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return store{}, err
	}
	bucket := namesBucket
	bucket.Replicas = replicas
	names, err := js.CreateOrUpdateKeyValue(ctx, bucket)
	if err != nil {
		return store{}, fmt.Errorf("the chat keeps nicknames in NATS's key-value store, which needs JetStream "+
			"(nats-server -js; bin/embedded --embedded.jetstream.dir): %w", err)
	}
	return store{names}, nil
}

// servePage serves the page, if configured, until the function that it returns is called.
func servePage(s settings, log *slog.Logger) (end func(), err error) {
	if s.Page == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", s.Page)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: newPage(s.Edge), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the page is not served any more", "error", err)
		}
	}()
	log.Info("the page", "url", "http://"+listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
	}, nil
}
