// Command application is the application that the official Socket.IO test suite expects, as a service
// (docs/socket.io-protocol/v5-test-suite of socketio/socket.io). See ../run.sh.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// patience is the longest time for a start and for an end.
const patience = 20 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ready := func() { fmt.Println("ready") }
	if err := run(ctx, cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL), ready); err != nil {
		log.Fatal(err)
	}
}

// run serves until the context ends. It calls ready once its subscriptions are active.
func run(ctx context.Context, url string, ready func()) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("NATS at %s: %w", url, err)
	}
	defer nc.Close()
	io, err := backend.New(nc, "suite")
	if err != nil {
		return err
	}
	for _, name := range []string{"/", "/custom"} {
		serve(io.Of(name))
	}
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := io.Start(starting); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	leaving, cancelLeaving := context.WithTimeout(context.Background(), patience)
	defer cancelLeaving()
	return io.Close(leaving)
}

// serve adds what the suite expects of a namespace.
func serve(ns *backend.Namespace) {
	ns.OnConnection(func(s *backend.Socket) { report(s.Emit("auth", s.Handshake().Auth)) })
	ns.On("message", func(s *backend.Socket, values ...any) { report(s.Emit("message-back", values...)) })
	ns.On("message-with-ack", func(_ *backend.Socket, values backend.Args, ack backend.Ack) error {
		echo := make([]any, values.Len())
		targets := make([]any, len(echo))
		for i := range echo {
			targets[i] = &echo[i]
		}
		if err := values.Decode(targets...); err != nil {
			return err
		}
		return ack(echo...)
	})
}

func report(err error) {
	if err != nil {
		log.Print(err)
	}
}
