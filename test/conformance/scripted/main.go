// Command scripted is the application of the comparison's cases about servers, as a service: the one of
// ../scripted.mjs, line by line. It executes a case's script, which is in the client's auth and in the events `do`
// and `listen`. Its arguments are the addresses of NATS servers. It writes what it sees to standard output, one JSON
// object a line, and ends with its input.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

const patience = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(addresses []string) error {
	t := &teller{out: json.NewEncoder(os.Stdout), users: make(map[string]string)}
	t.out.SetEscapeHTML(false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var services []*backend.Service
	for _, address := range addresses {
		nc, err := nats.Connect(address)
		if err != nil {
			return err
		}
		defer nc.Close()
		service, err := serve(ctx, nc, t)
		if err != nil {
			return err
		}
		services = append(services, service)
	}
	t.write(map[string]any{"ready": true})
	_, _ = io.Copy(io.Discard, os.Stdin)
	leaving, cancelLeaving := context.WithTimeout(context.Background(), patience)
	defer cancelLeaving()
	var failed []error
	for _, service := range services {
		failed = append(failed, service.Close(leaving))
	}
	return errors.Join(failed...)
}

// serve makes the namespaces of the application: each way to handle events has one by name, and all that match a
// pattern.
func serve(ctx context.Context, nc *nats.Conn, t *teller) (*backend.Service, error) {
	service, err := backend.New(nc, "scripted", backend.OnError(t.failed),
		// errors go to OnError
		backend.Logger(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"/owned", "/owned-*"} {
		a := application{t, service.Of(name, backend.Owned())}
		a.serve()
		a.ns.OnConnection(a.handleOwned)
		a.ns.OnHandover(a.toldHandover)
		a.ns.OnConnection(a.greet)
	}
	for _, name := range []string{"/stateless", "/stateless-*"} {
		a := application{t, service.Of(name)}
		a.serve()
		a.handle(a.ns.On)
		a.ns.OnDisconnect(func(s *backend.Socket, _ string) { a.sayGoodbye(s, t.goodbyes(s)) })
		a.ns.OnConnection(a.greet)
	}
	for _, name := range []string{"/owned", "/stateless"} {
		application{t, service.Of(name)}.hearServers()
	}
	return service, service.Start(ctx)
}

// teller writes what the application sees.
type teller struct {
	mu    sync.Mutex
	out   *json.Encoder     // guarded by mu
	users map[string]string // guarded by mu: by socket id
	plans sync.Map          // of socket id to the plans for its end, which a stateless handler cannot keep
}

func (t *teller) write(line map[string]any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.out.Encode(line) // if run.mjs has ended, there is no reader
}

// tell writes a line of one socket's side of the application.
func (t *teller) tell(s *backend.Socket, line string) { t.note("server", s.ID(), line) }

// tellOf writes a line of another instance than that of a case's client.
func (t *teller) tellOf(tag, line string) {
	t.write(map[string]any{"tag": tag, "actor": "other server", "line": line})
}

func (t *teller) note(lane, id, line string) {
	t.mu.Lock()
	user := t.users[id]
	t.mu.Unlock()
	tag, name, _ := strings.Cut(user, " ")
	t.write(map[string]any{"tag": tag, "actor": lane + " " + name, "line": line})
}

// failed writes what went wrong in a handler, in the reference's words if it has any.
func (t *teller) failed(e *backend.HandlerError) {
	var panicked *backend.PanicError
	if errors.As(e.Err, &panicked) || e.Err.Error() == thrown {
		return // the reference would have ended
	}
	t.note("server", e.Socket, "error: "+e.Err.Error())
}

// remember stores the case's tag and the client's name of a socket.
func (t *teller) remember(s *backend.Socket, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users[s.ID()] = user
}

func (t *teller) goodbyes(s *backend.Socket) []plan {
	plans, _ := t.plans.LoadAndDelete(s.ID())
	list, _ := plans.([]plan)
	return list
}
