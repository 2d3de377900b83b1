package permissions

import (
	"fmt"
	"strings"
	"testing"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// The permissions of the contract suffice for a service to greet newcomers in rooms to which no edge subscribes yet.
func TestAServiceCanGreet(t *testing.T) {
	s := &stage{t: t, server: natsdtest.Start(t, documented(t))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"),
		Namespaces: map[string]rule.Namespace{"/chat": {}}}).Ready()
	u := s.as("chat")
	io, err := backend.New(u.NC, "chat")
	if err != nil {
		t.Fatal(err)
	}
	chat := io.Of("/chat")
	chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), so.ID()[9:]) })
	chat.OnConnection(func(so *backend.Socket) {
		_ = chat.To(so.ID()[9:]).Emit("welcome")
		_ = chat.Socket(strings.Repeat("a", 8) + so.ID()[8:]).To(so.ID()[9:]).Emit("broadcast") // excludes another socket
		if err := so.Join(so.Context(), "later"); err != nil {
			t.Error(err)
		}
		_ = chat.To("later").Emit("joined")
	})
	edgetest.Serve(t, io)
	for i := range 10 {
		so := s.Enter(fmt.Sprint("newcomer ", i), "/chat")
		for _, event := range []string{"welcome", "broadcast", "joined"} {
			so.Expect(`42/chat,["` + event + `"]`)
		}
		so.Hangup()
	}
	u.unhindered()
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things:\n%s", n, strings.Join(s.Logged(), "\n"))
	}
}
