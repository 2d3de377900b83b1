// Command echo sends every message back to its client. It is the server that the official Engine.IO test suite
// expects (docs/engine.io-protocol/v4-test-suite of socketio/socket.io). See ../run.sh.
package main

import (
	"bytes"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"partyline/engine"
	"partyline/wire/eio"
)

func main() {
	address := "localhost:3000"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	log.Printf("echo listens on http://%s/engine.io/", address)
	log.Fatal(http.ListenAndServe(address, handler()))
}

// handler serves Engine.IO with the times and sizes of the suite.
func handler() http.Handler {
	config := engine.DefaultConfig()
	config.PingInterval, config.PingTimeout = 300*time.Millisecond, 200*time.Millisecond
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", engine.NewServer(engine.Settings{
		Config: config, EdgeID: "echo", Log: slog.New(slog.DiscardHandler),
		Handler: func(s *engine.Session, _ *engine.Opening) engine.Receiver { return receiver{s} },
	}))
	return mux
}

// receiver belongs to one session.
type receiver struct{ session *engine.Session }

// Message sends the message back.
func (r receiver) Message(data []byte, binary bool) {
	if binary {
		r.session.Send(eio.NewBinaryMessage(bytes.Clone(data), eio.Options{}))
		return
	}
	r.session.Send(eio.NewMessage(data, nil, nil, eio.Options{}))
}

// Beat does nothing.
func (r receiver) Beat(bool) {}

func (r receiver) Upgraded() {}

// Closed does nothing: the echo keeps no state.
func (r receiver) Closed(engine.Reason) {}
