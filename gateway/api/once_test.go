package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// beginLogged is begin with a log for /news.
func beginLogged(t testing.TB, more map[string]rule.Namespace, change ...func(*Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	all := namespaces()
	all["/news"] = rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}, Recovery: rule.Recovery{For: time.Minute}}
	for name, ns := range more {
		all[name] = ns
	}
	return beginOn(t, edgetest.BeginAt(t, server, all), change...)
}

// TestAnIdempotencyKeyCountsOnce emits the same event twice, with one key of the API and with another.
func TestAnIdempotencyKeyCountsOnce(t *testing.T) {
	s := beginLogged(t, nil, func(o *Options) {
		other := everything()
		other.Name, other.Hash = "other", HashKey("other")
		o.Keys = append(o.Keys, other)
	})
	ann := s.Enter("ann", "/news")
	const body = `{"namespace":"/news","to":{"all":true},"event":["goal",1]}`
	sequence := func(got reply) (n int, isDuplicate bool) {
		t.Helper()
		if _, err := fmt.Sscanf(got.body, `{"sequence":%d,"duplicate":%t}`, &n, &isDuplicate); err != nil || got.status != 200 || n == 0 {
			t.Fatalf("%d %s: %v", got.status, got.body, err)
		}
		return n, isDuplicate
	}
	first, isDuplicate := sequence(s.post("emit", body, "Idempotency-Key", "order-7"))
	again, wasThere := sequence(s.post("emit", body, "Idempotency-Key", "order-7"))
	if isDuplicate || !wasThere || first != again {
		t.Errorf("%d %t, then %d %t", first, isDuplicate, again, wasThere)
	}
	if n, isDuplicate := sequence(s.do("POST", "/v1/emit", "other", body, "Idempotency-Key", "order-7")); isDuplicate || n == first {
		t.Errorf("another key of the API: %d %t", n, isDuplicate)
	}
	for range 2 {
		if got := ann.Next(); !strings.HasPrefix(got, `42/news,["goal",1,"`) {
			t.Error(got)
		}
	}
	const batch = `{"commands":[{"verb":"emit","namespace":"/news","to":{"all":true},"event":["one"]},{"verb":"emit","namespace":"/news","to":{"all":true},"event":["two"]},
		{"verb":"join","namespace":"/news","to":{"all":true},"rooms":["a"]},{"verb":"emit","namespace":"/chat","to":{"all":true},"event":["x"]}]}`
	for i := range 2 {
		got := s.post("batch", batch, "Idempotency-Key", "b")
		for text, want := range map[string]int{`"duplicate":true`: 2 * i, `"duplicate":false`: 2 - 2*i, "emits only": 1, "neither recovery nor rewind": 1} {
			if n := strings.Count(got.body, text); n != want {
				t.Errorf("%s: %d of %s, want %d", got.body, n, text, want)
			}
		}
	}
	alone := s.post("emit", `{"namespace":"/news","to":{"all":true},"event":["alone"]}`, "Idempotency-Key", "b/0")
	if _, isDuplicate := sequence(alone); isDuplicate {
		t.Error("an event counts as one of a batch")
	}
	s.answers("emit", `{"namespace":"/news","to":{"all":true},"event":["end"]}`, 202, "{}")
	for _, name := range []string{"one", "two", "alone", "end"} {
		if got := ann.Next(); !strings.HasPrefix(got, `42/news,["`+name+`","`) {
			t.Errorf("%s, want %s", got, name)
		}
	}
}

// TestAnIdempotencyKeyWherePatternsHaveRecovery has all namespaces in the log's stream, also those without recovery.
func TestAnIdempotencyKeyWherePatternsHaveRecovery(t *testing.T) {
	recovered := rule.Namespace{Connect: rule.ConnectOpen, Recovery: rule.Recovery{For: time.Minute}}
	s := beginLogged(t, map[string]rule.Namespace{"/ten-*": recovered, "/ten-free*": {Connect: rule.ConnectOpen}})
	ann := s.Enter("ann", "/ten-1")
	for _, namespace := range []string{"/news", "/ten-1", "/ten-nobody"} {
		for _, isDuplicate := range []string{"false", "true"} {
			got := s.post("emit", `{"namespace":"`+namespace+`","to":{"all":true},"event":["x"]}`, "Idempotency-Key", "1")
			if got.status != 200 || !strings.HasSuffix(got.body, `,"duplicate":`+isDuplicate+"}") {
				t.Errorf("%s: %d %s, want duplicate %s", namespace, got.status, got.body, isDuplicate)
			}
		}
	}
	for _, namespace := range []string{"/chat", "/ten-free", "/ten-free-2"} {
		got := s.post("emit", `{"namespace":"`+namespace+`","to":{"all":true},"event":["x"]}`, "Idempotency-Key", "1")
		s.isProblem(got, badRequest, "neither recovery nor rewind")
	}
	s.answers("emit", `{"namespace":"/ten-1","to":{"all":true},"event":["end"]}`, 202, "{}")
	for _, name := range []string{"x", "end"} {
		if got := ann.Next(); !strings.HasPrefix(got, `42/ten-1,["`+name+`","`) {
			t.Errorf("%s, want %s", got, name)
		}
	}
}
