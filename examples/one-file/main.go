// Command one-file is a whole chat in one Go program: clients, their events, NATS, and the page.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"partyline"
	"partyline/backend"
)

//go:embed index.html
var page []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	srv, err := partyline.NewServer(partyline.Options{Environ: os.Environ()})
	if err != nil {
		log.Fatal(err)
	}
	io := srv.Backend("chat")
	chat := io.Of("/chat_room", backend.Owned())
	chat.OnConnection(func(s *backend.Socket) {
		s.On("message", func(text string) error {
			return chat.Emit("message", text)
		})
	})
	if err := io.Start(ctx); err != nil {
		log.Fatal(err)
	}

	http.Handle("/socket.io/", srv)
	http.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:3000"), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("ready: http://%s", server.Addr)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(err, srv.Shutdown(last), server.Shutdown(last)); err != nil {
		log.Fatal(err)
	}
}
