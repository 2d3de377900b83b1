package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"partyline/backend"
)

func TestEmitsGoToUnionsOnceEach(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("shout", func(so *backend.Socket, room, text string) error { return so.To(room).Emit("shout", text) })
	chat.On("all", func(so *backend.Socket) error { return so.Broadcast().Emit("all") })
	s.start(io)
	ann, bob, cat := s.enter("ann", "/chat"), s.enter("bob", "/chat"), s.enter("cat", "/chat")
	ctx := context.Background()
	for _, c := range []struct {
		who  *client
		room string
	}{{ann, "a"}, {bob, "a"}, {bob, "b"}, {cat, "b"}} {
		if err := chat.Socket(c.who.id).Join(ctx, c.room); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	everyone := []*client{ann, bob, cat}
	only := func(what string, receivers ...*client) {
		t.Helper()
		for _, c := range receivers {
			c.gets(`["` + what + `"]`)
		}
		must(chat.Emit("mark"))
		for _, c := range everyone {
			c.gets(`["mark"]`)
		}
	}
	must(chat.Emit("everyone"))
	only("everyone", ann, bob, cat)
	must(chat.To("a", "b").Emit("union"))
	only("union", ann, bob, cat)
	must(chat.To("a").To(cat.id).Emit("mixed"))
	only("mixed", ann, bob, cat)
	must(chat.To("a").Except("b").Emit("a without b"))
	only("a without b", ann)
	must(chat.To(bob.id).Emit("bob"))
	only("bob", bob)
	must(chat.To(bob.id).Except("b").Emit("nobody"))
	only("nobody")
	must(chat.Socket(ann.id).Emit("ann"))
	only("ann", ann)
	must(chat.Socket(ann.id).Except("b").Emit("neither ann nor b"))
	only("neither ann nor b")
	must(chat.Socket(cat.id).To("a", "b").Volatile().Compress(false).Emit("others"))
	only("others", ann, bob)
	bob.emit("", `["shout","a","hi"]`)
	ann.gets(`["shout","hi"]`)
	bob.emit("", `["all"]`)
	ann.gets(`["all"]`)
	cat.gets(`["all"]`)
	only("") // and no other client
}

func TestTargetsAreValues(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("x", func() {})
	s.start(io)
	ann := s.enter("ann", "/chat")
	base := chat.To("a")
	one, two := base.To("b"), base.To(ann.id)
	_ = one.Emit("one")
	_ = two.Emit("two")
	_ = base.Emit("base")
	_ = chat.Emit("mark")
	ann.gets(`["two"]`)
	ann.gets(`["mark"]`)
}

type blob []byte

type photo struct {
	Name  string `json:"name"`
	Image []byte `json:"image"`
	Thumb blob   `json:"thumb,omitempty"`
	inner
	Raw   json.RawMessage `json:"raw"`
	When  time.Time       `json:"when"`
	Extra any             `json:"extra"`
	Next  *photo          `json:"next"`
}

type inner struct{ Hidden []byte }

func TestBinaryBothWays(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("photo", func(p photo, more any, last []byte) (photo, any, []byte) { return p, more, last })
	chat.On("text", func(text string) string { return text })
	s.start(io)
	ann := s.enter("ann", "/chat")
	p := photo{
		Name: "n<>", Image: []byte("abc"), inner: inner{[]byte("hid")}, Raw: json.RawMessage(`{"b":1}`), When: time.Unix(0, 0).UTC(),
		Extra: []any{map[string]any{"deep": []byte("de")}}, Next: &photo{Image: []byte{}, Raw: json.RawMessage("1"), When: time.Unix(0, 0).UTC()},
	}
	if err := chat.Emit("file", p, []byte("xyz")); err != nil {
		t.Fatal(err)
	}
	place := func(n string) string { return `{"_placeholder":true,"num":` + n + `}` }
	body := `{"name":"n<>","image":` + place("0") + `,"Hidden":` + place("1") + `,"raw":{"b":1},"when":"1970-01-01T00:00:00Z","extra":[{"deep":` + place("2") +
		`}],"next":{"name":"","image":` + place("3") + `,"Hidden":null,"raw":1,"when":"1970-01-01T00:00:00Z","extra":null,"next":null}}`
	ann.Expect(`455-/chat,["file",` + body + `,` + place("4") + `]`)
	for _, want := range []string{"abc", "hid", "de", "", "xyz"} {
		ann.Expect("b" + want)
	}
	if string(p.Image) != "abc" || string(p.Hidden) != "hid" {
		t.Error("the argument has changed")
	}
	ann.Send(`456-/chat,7["photo",` + body + `,{"m":[` + place("5") + `]},` + place("4") + `]`)
	for _, part := range []string{"abc", "hid", "de", "", "xyz", "m"} {
		ann.SendBinary([]byte(part))
	}
	ann.Expect(`466-/chat,7[` + body + `,{"m":[` + place("4") + `]},` + place("5") + `]`)
	for _, want := range []string{"abc", "hid", "de", "", "m", "xyz"} {
		ann.Expect("b" + want)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	type circle struct {
		Data []byte
		Next []*circle
	}
	round := &circle{}
	round.Next = []*circle{round, round, round}
	blobs := make([]any, 11)
	for i := range blobs {
		blobs[i] = []byte("x")
	}
	for name, c := range map[string]struct {
		err  error
		code backend.Code
		text string
	}{
		"a reserved name":    {chat.Emit("disconnect"), backend.BadArguments, "reserved"},
		"a long room":        {chat.To(strings.Repeat("x", 10_000)).Emit("x"), backend.BadArguments, "longer than 512 bytes"},
		"a long event":       {chat.Emit(strings.Repeat("x", 10_000)), backend.BadArguments, "longer than 512 bytes"},
		"a channel":          {chat.Emit("x", make(chan int)), backend.BadArguments, "unsupported type"},
		"a circle":           {chat.Emit("x", round), backend.BadArguments, "circle"},
		"too many blobs":     {chat.Emit("x", blobs...), backend.BadArguments, "11 binary attachments; the limit is 10"},
		"too large":          {chat.Emit("x", strings.Repeat("x", 2<<20)), backend.TooLarge, "a message of 2097160 bytes is larger than NATS accepts, 1048576 bytes"},
		"no socket's id":     {chat.Socket("nobody").Emit("x"), backend.UnknownSocket, "nobody"},
		"a timeout too long": {chat.Timeout(time.Hour).Emit("x"), backend.BadArguments, "between"},
	} {
		if !errors.Is(c.err, c.code) || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}
