package permissions

import (
	"context"
	"errors"
	"strings"
	"testing"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// The permissions of the contract suffice for a service that owns sockets, asks clients, and hands its sockets over
// when it leaves.
func TestAnOwnerCanDoItsWork(t *testing.T) {
	s := &stage{t: t, server: natsdtest.Start(t, documented(t))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"),
		Namespaces: map[string]rule.Namespace{"/chat": {}}}).Ready()
	first, second := s.instance(), s.instance()
	ann := s.Enter("ann", "/chat")
	owner := func() string {
		t.Helper()
		ann.Send(`42/chat,1["who"]`)
		return strings.TrimSuffix(strings.TrimPrefix(ann.Next(), `43/chat,1["`), `"]`)
	}
	before := owner()
	other := map[string]*instance{first.Instance(): second, second.Instance(): first}[before]
	leaver := map[string]*instance{first.Instance(): first, second.Instance(): second}[before]
	if other == nil {
		t.Fatalf("%q answered", before)
	}
	ann.Send(`42/chat,2["ask me"]`)
	question := ann.Next() // 42/chat,<id>["ready?"]
	ann.Send("43/chat," + strings.TrimSuffix(strings.TrimPrefix(question, "42/chat,"), `["ready?"]`) + `["yes"]`)
	ann.Expect(`43/chat,2["yes"]`)
	if err := leaver.Close(edgetest.Patient(t)); err != nil {
		t.Fatal(err)
	}
	if after := owner(); after != other.Instance() {
		t.Errorf("%s answers after %s has left, want %s", after, before, other.Instance())
	}
	first.user.unhindered()
	second.user.unhindered()
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things:\n%s", n, strings.Join(s.Logged(), "\n"))
	}
}

// An owner may announce that it has given up its sockets, because the edge was declared dead or it considered it
// dead.
func TestAnOwnerMaySayThatItOwnsNothing(t *testing.T) {
	t.Parallel()
	s := &stage{t: t, server: natsdtest.Start(t, documented(t))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"),
		Namespaces: map[string]rule.Namespace{"/chat": {}}}).Ready()
	s.admin = s.as("admin")
	words := []*edgetest.Ear{s.admin.Hear("sio.chat.ack." + s.ID + ".*.connect"),
		s.admin.Hear("sio.$edge." + s.ID + ".pong.*")}
	i := s.instance()
	ann := s.Enter("ann", "/chat")
	owned := func() {
		t.Helper()
		edgetest.Eventually(t, "the socket is owned", func() bool { return i.Stats().Owned == 1 })
		ann.Send(`42/chat,1["who"]`)
		ann.Expect(`43/chat,1["` + i.Instance() + `"]`)
	}
	says := func(words *edgetest.Ear) {
		t.Helper()
		for {
			m := words.Next()
			if m.Header.Get("Sio-Error") == "not owner" {
				return
			}
		}
	}
	owned()
	s.admin.publish("sio.chat.own."+i.Instance()+".disconnect", "sio.chat.emit.socket."+ann.ID,
		`["disconnect",{"reason":"owner changed","rooms":[]}]`)
	edgetest.Eventually(t, "the socket is not owned", func() bool { return i.Stats().Owned == 0 })
	ann.Send(`42/chat,["who"]`)
	says(words[0])
	owned()
	s.admin.publish("sio.$edge."+s.ID+".bye", "", `[{"edge":"`+s.ID+`","at":1,"sockets":1}]`)
	says(words[1])
	owned()
	i.user.unhindered()
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things:\n%s", n, strings.Join(s.Logged(), "\n"))
	}
}

// instance is a copy of the service chat.
type instance struct {
	*backend.Service
	user *user
}

func (s *stage) instance() *instance {
	s.t.Helper()
	u := s.as("chat")
	io, err := backend.New(u.NC, "chat")
	if err != nil {
		s.t.Fatal(err)
	}
	chat := io.Of("/chat", backend.Owned())
	chat.On("who", func(*backend.Socket) string { return io.Instance() })
	chat.On("ask me", func(ctx context.Context, so *backend.Socket) (string, error) {
		answer, err := so.EmitWithAck(ctx, "ready?")
		if err != nil {
			return "", err
		}
		var text string
		return text, answer.Decode(&text)
	})
	edgetest.Serve(s.t, io)
	return &instance{io, u}
}

// Start fails, and names the subject, if NATS refuses what a service needs from the beginning.
func TestAServiceThatLacksAPermission(t *testing.T) {
	text := documented(t)
	for permission, refused := range map[string]string{
		`"sio.$svc.chat.>", "sio.$edge.*.pong.*"]`: "sio.$svc.chat.",
		`"sio.chat.own.>", `:                       "sio.chat.own.",
		`"sio.chat.on.>", `:                        "sio.chat.on.",
		`"sio.$edge.*.*", `:                        "sio.$edge.*.*",
		`"sio.$svc.chat.>", "_INBOX.chat.>"]`:      "sio.$svc.chat.",
	} {
		t.Run(refused, func(t *testing.T) {
			t.Parallel()
			begin := strings.Index(text, "user: chat")
			end := begin + strings.Index(text[begin:], "user: news")
			_, instead, _ := strings.Cut(permission, ", ") // without the first
			if !strings.Contains(text[begin:end], permission) {
				t.Fatalf("the contract has no %s", permission)
			}
			conf := text[:begin] + strings.Replace(text[begin:end], permission, instead, 1) + text[end:]
			s := &stage{t: t, server: natsdtest.Start(t, conf)}
			io, err := backend.New(s.as("chat").NC, "chat")
			if err != nil {
				t.Fatal(err)
			}
			if chat := io.Of("/chat"); refused == "sio.chat.on." { // owners do not need it
				chat.On("x", func() {})
			} else {
				io.Of("/chat", backend.Owned())
			}
			if err := io.Start(t.Context()); !errors.Is(err, backend.Refused) || !strings.Contains(err.Error(), refused) {
				t.Errorf("Start: %v; want one that names %s", err, refused)
			}
		})
	}
}
