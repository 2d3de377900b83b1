package backend

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Decisions are remembered for as long as edges ask, and a little longer. Their number is bounded.
func TestDecisionsAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	ds := decisions{byKey: make(map[string]*decision)}
	begin := func(id string) *decision {
		d, first := ds.begin(id, id, 25*time.Second, now)
		if !first {
			t.Fatalf("%s is known", id)
		}
		return d
	}
	known := func(id string) bool {
		d, first := ds.begin(id, id, 25*time.Second, now)
		if first {
			ds.drop(d)
		}
		return !first
	}
	slow := begin("slow") // its middleware is slow
	ds.make(begin("a"), nil, nil, []byte("[]"), now)
	ds.forget(now.Add(25 * time.Second))
	if !known("a") || !known("slow") {
		t.Error("a decision is forgotten too early")
	}
	ds.forget(now.Add(25*time.Second + 1))
	if known("a") || !known("slow") || ds.bytes != 0 {
		t.Error("a decision is not forgotten, or a pending one is")
	}
	ds.forget(now.Add(neverMade + 1))
	ds.make(slow, nil, nil, []byte("[]"), now)
	if made, _ := ds.repeat(slow, nil); !made || known("slow") || len(ds.made) != 0 {
		t.Error("a decision that took too long must be answered, and not be remembered")
	}

	owned := &Socket{own: &ownership{}}
	owned.own.ctx, owned.own.cancel = context.WithCancel(t.Context())
	ds.make(begin("owned"), owned, nil, nil, now) // the edge never received it
	body := make([]byte, 1<<20)
	for i := range 70 {
		ds.make(begin(fmt.Sprint("large", i)), nil, nil, body, now)
	}
	if ds.bytes > mostDecisionBytes || known("large0") || !known("large69") || known("owned") {
		t.Errorf("%d bytes are remembered", ds.bytes)
	}
	if owned.own.ctx.Err() == nil {
		t.Error("the context of a socket without an owner does not end")
	}
	for i := range mostDecisions + 10 {
		ds.make(begin(fmt.Sprint("small", i)), nil, nil, nil, now)
	}
	if len(ds.byKey) > mostDecisions || known("small9") || !known("small10") {
		t.Errorf("%d decisions are remembered", len(ds.byKey))
	}
	ds.forget(now.Add(time.Minute))
	if len(ds.byKey) != 0 || len(ds.made) != 0 || ds.bytes != 0 {
		t.Errorf("%d decisions are left, %d bytes", len(ds.byKey), ds.bytes)
	}
}

// The request has the time for which an edge asks.
func TestHowLongADecisionIsRemembered(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 25 * time.Second, "x": 25 * time.Second, "-1": 25 * time.Second, "99999999999": 25 * time.Second,
		"60000": 65 * time.Second, "300": 5300 * time.Millisecond,
	} {
		m := nats.NewMsg("sio.chat.on.connect")
		if value != "" {
			m.Header.Set("Sio-Timeout", value)
		}
		if got := keepFor(m); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	if got := keepFor(&nats.Msg{}); got != 25*time.Second {
		t.Errorf("without headers: %s", got)
	}
}

func TestRefusalAnswer(t *testing.T) {
	for _, c := range []struct{ message, data, header, body string }{
		{"no", "", "no", `[]`},
		{"no", `{"code":1}`, "no", `[{"code":1}]`},
		{"two\nlines ", "", "refused: two lines", `[null,"two\nlines "]`},
		{" ", "7", "refused: not admitted", `[7," "]`},
		{"again", "", "refused: again", `[null,"again"]`},
		{"not mine", "null", "refused: not mine", `[null,"not mine"]`},
	} {
		var data []byte
		if c.data != "" {
			data = []byte(c.data)
		}
		header, body := refusalAnswer(c.message, data)
		if got := header.Get("Sio-Error"); got != c.header || string(body) != c.body {
			t.Errorf("%q with %s is %q %s", c.message, c.data, got, body)
		}
	}
}
