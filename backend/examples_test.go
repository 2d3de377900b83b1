package backend_test

import (
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// exampleTB gives examples, which have no testing.T, what tests use. It ends the program on an error.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                        {}
func (*exampleTB) Failed() bool                   { return false }
func (*exampleTB) Log(...any)                     {}
func (*exampleTB) Fatal(args ...any)              { log.Fatal(args...) }
func (*exampleTB) Fatalf(text string, all ...any) { log.Fatalf(text, all...) }
func (*exampleTB) Errorf(text string, all ...any) { log.Fatalf(text, all...) }
func (tb *exampleTB) Cleanup(fn func())           { tb.cleanups = append(tb.cleanups, fn) }

func (tb *exampleTB) end() {
	for _, fn := range slices.Backward(tb.cleanups) {
		fn()
	}
}

// scene is what an example needs: NATS, and an edge whose namespaces are all "connect: service".
type scene struct {
	*stage
	tb *exampleTB
	nc *nats.Conn
}

func newScene(change ...func(*edgetest.Options)) *scene {
	tb := &exampleTB{}
	s := begin(tb, change...)
	return &scene{stage: s, tb: tb, nc: s.connection()}
}

func (s *scene) end() { s.tb.end() }

// service makes a service of the group "chat".
func (s *scene) service(options ...backend.Option) *backend.Service {
	io, err := backend.New(s.connection(), "chat", append(options, backend.Logger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		log.Fatal(err)
	}
	return io
}

// user is a client that prints what it receives.
type user struct {
	*enginetest.Client
	name, head string
	id         string
	events     chan string
	acks       chan string
	answer     chan string // buffered; its ack
}

// connect connects a client, and prints a refusal.
func (s *scene) connect(name, namespace, auth string) *user {
	u := &user{
		Client: s.Dial(name), name: name, head: namespace + ",",
		events: make(chan string, 100), acks: make(chan string, 100), answer: make(chan string, 1),
	}
	u.Send("40" + u.head + auth)
	frame := u.Next()
	if why, refused := strings.CutPrefix(frame, "44"+u.head); refused {
		fmt.Printf("%s is refused: %s\n", name, why)
		return u
	}
	u.id = strings.TrimSuffix(strings.TrimPrefix(frame, "40"+u.head+`{"sid":"`), `"}`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.read()
	}()
	s.tb.Cleanup(func() {
		u.Hangup()
		<-done
	})
	return u
}

// read sorts the frames that arrive until the connection ends.
func (u *user) read() {
	for {
		frame, ok := u.Await()
		if !ok {
			return
		}
		kind, rest, binary := frame[:2], frame[2:], 0
		if _, err := fmt.Sscanf(rest, "%d-", &binary); err == nil && strings.IndexByte(rest, '-') < strings.IndexByte(rest, '/') {
			rest = rest[strings.IndexByte(rest, '-')+1:]
		} else {
			binary = 0
		}
		rest = strings.TrimPrefix(rest, u.head)
		begin := max(0, strings.IndexByte(rest, '['))
		id, body := rest[:begin], rest[begin:]
		for range binary {
			data, _ := u.Await()
			body += fmt.Sprintf(" + %q", strings.TrimPrefix(data, "b"))
		}
		switch {
		case kind == "43" || kind == "46":
			u.acks <- body
		case id != "" && len(u.answer) > 0:
			u.Send("43" + u.head + id + <-u.answer)
		default:
			u.events <- body
		}
	}
}

// answers makes the client ack the next event that wants an ack.
func (u *user) answers(body string) { u.answer <- body }

// receives waits for events and prints them.
func (u *user) receives(n int) {
	for range n {
		select {
		case body := <-u.events:
			fmt.Printf("%s receives %s\n", u.name, body)
		case <-time.After(patience):
			log.Fatalf("%s receives nothing", u.name)
		}
	}
}

func (u *user) emit(body string) { u.Send("42" + u.head + body) }

// emitWithAck sends an event, followed by binary data, and returns the ack.
func (u *user) emitWithAck(body string, attachments ...string) string {
	if len(attachments) == 0 {
		u.Send("42" + u.head + "1" + body)
	} else {
		u.Send(fmt.Sprintf("45%d-%s1%s", len(attachments), u.head, body))
	}
	for _, data := range attachments {
		u.SendBinary([]byte(data))
	}
	select {
	case ack := <-u.acks:
		return ack
	case <-time.After(patience):
		log.Fatalf("%s gets no ack for %s", u.name, body)
		return ""
	}
}

func (u *user) disconnect() { u.Send("41" + u.head) }
