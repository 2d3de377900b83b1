package backend_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
	"partyline/wire/msg"
)

// refused makes what a client gets as its ack for what it may not do.
func refused(what string) string { return `[{"error":"not allowed: ` + what + `"}]` }

func TestMiddlewareGrants(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"/chat", "/open", "/owned"} {
		s := begin(t)
		io := s.service("chat")
		var options []backend.NamespaceOption
		if namespace == "/owned" {
			options = append(options, backend.Owned())
		}
		ns := io.Of(namespace, options...)
		ns.Use(func(so *backend.Socket) error {
			return errors.Join(
				so.SetUser("bob"),
				so.SetGrant(so.Context(), backend.Grant{User: "ann", Rooms: []string{"team"}, Join: []string{"lobby-*"}, Emit: []string{"no"}}),
				so.Join(so.Context(), "hall"),
				so.SetGrant(so.Context(), backend.Grant{Emit: []string{"say"}}),
			)
		})
		ns.Use(func(so *backend.Socket) error {
			if so.User() != "ann" {
				t.Errorf("%s: the next middleware sees the user %q", namespace, so.User())
			}
			return nil
		})
		ns.OnConnection(func(so *backend.Socket) { _ = so.Emit("welcome", so.User()) })
		ns.On("say", func(so *backend.Socket) string { return so.User() })
		s.start(io)
		ann := s.enter("ann", namespace)
		ann.gets(`["welcome","ann"]`)
		for _, step := range [][2]string{
			{`["say"]`, `["ann"]`}, {`["no"]`, refused("no")}, {`["join","lobby-1"]`, `[{"ok":true}]`}, {`["join","vault"]`, refused("vault")},
		} {
			ann.emit("1", step[0])
			ann.acked("1", step[1])
		}
		got, err := ns.Socket(ann.id).Fetch(t.Context())
		if slices.Sort(got.Rooms); err != nil || got.User != "ann" || !slices.Equal(got.Rooms, []string{"hall", "lobby-1", "team"}) {
			t.Errorf("%s: the edge has %+v, %v", namespace, got, err)
		}
	}
}

// Each target, each member, and its taking back.
func TestSetGrant(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), "hall") })
	chat.On("say", func(so *backend.Socket) string { return so.User() })
	s.start(io)
	ann, bob := s.enter("ann", "/chat"), s.enter("bob", "/chat")
	says := func(c *client, want string) {
		t.Helper()
		c.emit("1", `["say"]`)
		c.acked("1", want)
	}
	done := func(want int) func(int, error) {
		return func(n int, err error) {
			t.Helper()
			if n != want || err != nil {
				t.Fatalf("%d sockets, %v; want %d", n, err, want)
			}
		}
	}
	so := chat.Socket(ann.id)
	if err := so.SetGrant(t.Context(), backend.Grant{User: "ann", Emit: []string{}}); err != nil {
		t.Fatal(err)
	}
	says(ann, refused("say"))
	says(bob, `[""]`)
	done(2)(chat.To("hall").SetGrant(t.Context(), backend.Grant{Emit: []string{"s*"}}))
	says(ann, `["ann"]`)
	done(2)(chat.SetGrant(t.Context(), backend.Grant{Emit: []string{"other"}, Rooms: []string{"a", "b"}}))
	says(ann, refused("say"))
	says(bob, refused("say"))
	if err := chat.To("a").Emit("news"); err != nil { // the edge has confirmed the rooms
		t.Fatal(err)
	}
	ann.gets(`["news"]`)
	bob.gets(`["news"]`)
	done(1)(chat.To(ann.id).SetGrant(t.Context(), backend.Grant{TakeBack: backend.GrantEmit | backend.GrantUser, Rooms: []string{"b"}}))
	says(ann, `[""]`)
	rooms, err := so.Rooms(t.Context())
	if slices.Sort(rooms); err != nil || !slices.Equal(rooms, []string{"b", "hall"}) {
		t.Errorf("ann is in %v, %v", rooms, err)
	}
	if err := chat.Socket("aaaaaaaa.aaaaaaaaaaaaaaaaaaaa").SetGrant(t.Context(), backend.Grant{User: "x"}); !errors.Is(err, backend.UnknownSocket) {
		t.Errorf("a socket that is not there: %v", err)
	}
}

// An owner follows what other services grant, and what it grants itself counts at once.
func TestAnOwnerKnowsTheUserOfItsSocket(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io, other := s.service("chat"), s.service("other")
	chat := io.Of("/chat", backend.Owned())
	chat.Use(func(so *backend.Socket) error { return so.SetUser("ann") })
	chat.On("who", func(so *backend.Socket) string { return so.User() })
	s.start(io)
	s.start(other)
	ann := s.enter("ann", "/chat")
	so := chat.Socket(ann.id)
	if err := so.SetGrant(t.Context(), backend.Grant{User: "bob", Rooms: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	if rooms, _ := so.Rooms(t.Context()); so.User() != "bob" || !slices.Contains(rooms, "team") {
		t.Errorf("after its own grant: %q in %v", so.User(), rooms)
	}
	if err := so.SetUser("eve"); !errors.Is(err, backend.BadArguments) {
		t.Errorf("SetUser outside of middleware: %v", err)
	}
	if n, err := other.Of("/chat").To("team").SetGrant(t.Context(), backend.Grant{TakeBack: backend.GrantUser | backend.GrantRooms}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "the owner follows", func() bool {
		rooms, _ := so.Rooms(t.Context())
		return so.User() == "" && len(rooms) == 0
	})
	ann.emit("1", `["who"]`)
	ann.acked("1", `[""]`)
}

func TestGrantsThatAreNone(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	s.start(io)
	for says, g := range map[string]backend.Grant{
		"gives emit and takes it back": {Emit: []string{"a"}, TakeBack: backend.GrantEmit},
		`"join": element 1 is empty`:   {Join: []string{"a", ""}},
		"more than 100 patterns":       {Leave: slices.Repeat([]string{"a"}, 101)},
		"control characters":           {User: "a\nb"},
		`"expires" is no time`:         {Expires: time.Unix(-1, 0)},
		"the form of a socket id":      {Rooms: []string{"aaaaaaaa.aaaaaaaaaaaaaaaaaaaa"}},
		`element 0 is empty or longer`: {Emit: []string{strings.Repeat("a", 513)}},
	} {
		if _, err := io.Of("/chat").SetGrant(t.Context(), g); !errors.Is(err, backend.BadArguments) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v; want %q", g, err, says)
		}
	}
}

// Where a token admits, middleware sees its user, and what it grants changes what the token grants.
func TestMiddlewareBehindAToken(t *testing.T) {
	t.Parallel()
	issuer := token.Default()
	issuer.Name, issuer.Issuer, issuer.Audience, issuer.Algorithms = "main", "https://id.example", "partyline", []string{"HS256"}
	issuer.HMACSecretFile = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(issuer.HMACSecretFile, []byte(strings.Repeat("secret", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, func(o *edgetest.Options) {
		o.Tokens = []token.Issuer{issuer}
		o.Namespaces["/members"] = rule.Namespace{Connect: rule.ConnectToken, Tokens: []string{"main"}, ConnectTimeout: 5 * time.Second}
	})
	io := s.service("chat")
	members := io.Of("/members")
	members.Use(func(so *backend.Socket) error {
		if so.User() == "bob" {
			return backend.Refuse("not you")
		}
		return so.SetGrant(so.Context(), backend.Grant{TakeBack: backend.GrantJoin, Emit: []string{"who"}})
	})
	members.OnConnection(func(so *backend.Socket) { _ = so.Emit("welcome", so.User()) })
	members.On("who", func(so *backend.Socket) string { return so.User() })
	s.start(io)
	auth := func(user string) string {
		raw, err := issuer.Sign(msg.Grant{User: user, Rooms: []string{"team"}, Join: []string{"*"}}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"token":%q}`, raw)
	}
	ann := enter(s.Node, "ann", "/members", auth("ann"))
	ann.gets(`["welcome","ann"]`)
	for _, step := range [][2]string{{`["who"]`, `["ann"]`}, {`["other"]`, refused("other")}} {
		ann.emit("1", step[0])
		ann.acked("1", step[1])
	}
	got, err := members.Socket(ann.id).Fetch(t.Context())
	if err != nil || got.User != "ann" || !slices.Equal(got.Rooms, []string{"team"}) {
		t.Errorf("the edge has %+v, %v", got, err)
	}
	enter(s.Node, "bob", "/members", auth("bob")).Expect("41/members,")
}
