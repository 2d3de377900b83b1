// Command worker is a service of the tests of deploys. It owns the sockets of /work, publishes a note of each event
// that it handles on the subject "journal", and acks it. On SIGTERM it leaves as the contract specifies.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	io, err := backend.New(nc, "work", backend.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	io.Of("/work", backend.Owned()).OnConnection(func(s *backend.Socket) {
		var auth struct{ Client string }
		if err := s.Handshake().DecodeAuth(&auth); err != nil {
			log.Printf("auth of %s: %v", s, err)
		}
		handled := 0
		s.On("n", func(n int) int {
			handled++
			_ = nc.Publish("journal", fmt.Appendf(nil, "%d %s %d %s", time.Now().UnixNano(), auth.Client, n, io.Instance()))
			return handled
		})
	})
	if err := io.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready") // the parent process waits for it
	<-ctx.Done()
	leaving, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := io.Close(leaving); err != nil {
		return err
	}
	return nc.FlushWithContext(leaving)
}
