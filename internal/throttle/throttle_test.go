package throttle

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// begin returns a Logger, and a function that returns the lines since its last call.
func begin() (*Logger, func() []string) {
	var written bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&written, nil)))
	return l, func() []string {
		text := strings.TrimSuffix(written.String(), "\n")
		written.Reset()
		if text == "" {
			return nil
		}
		return strings.Split(text, "\n")
	}
}

func TestOnceAMinuteBySubjectAndReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := begin()
		for range 150 {
			for _, subject := range []string{"sio._.emit.room.a", "sio._.emit.room.b"} {
				for _, reason := range []string{"body is not valid JSON", "body is not a JSON array"} {
					l.Warn("dropped a message", subject, errors.New(reason))
				}
			}
			time.Sleep(time.Second)
		}
		got := lines()
		if len(got) != 3*2*2 {
			t.Errorf("in two minutes and a half there are %d lines, want 12:\n%s", len(got), strings.Join(got, "\n"))
		}
		if !strings.Contains(got[4], "subject=sio._.emit.room.a") || !strings.Contains(got[4], "suppressed=236") {
			t.Errorf("after a minute comes %s, want it to name the 236 lines left out before", got[4])
		}
	})
}

// A sender that invents subjects, or reasons, fills neither the log nor memory, and hides no other line.
func TestMadeUpSubjectsAndReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := begin()
		for minute := range 3 {
			for i := range 20_000 {
				l.Warn("bad subject", fmt.Sprint("s", minute, ".", i), errors.New("x"))
				l.Warn("bad reason", "s", errors.New(strings.Repeat("x", i%maxReason)))
			}
			if got := lines(); len(got) > 2*MaxLines {
				t.Errorf("%d lines in a minute", len(got))
			}
			l.Warn("another thing", "s", errors.New("x"))
			if got := lines(); len(got) != 1 {
				t.Errorf("another thing is logged %d times, want 1", len(got))
			}
			time.Sleep(Every)
		}
		if len(l.last) > maxRemembered {
			t.Errorf("%d lines are remembered", len(l.last))
		}
		if n := l.suppressed.Value(); n < 3*(20_000-MaxLines) {
			t.Errorf("%d lines are counted as left out", n)
		}
	})
}

// All lines are forgotten in the end.
func TestSweep(t *testing.T) {
	l, _ := begin()
	now := time.Now()
	for i := range maxRemembered {
		l.last[uint64(i)] = now
	}
	if ok, _ := l.allow("what", "new", "", now); ok {
		t.Error("there is no room, and it is logged")
	}
	if ok, _ := l.allow("what", "new", "", now.Add(Every)); !ok || len(l.last) != 1 {
		t.Errorf("a minute later %d are remembered, logged: %v", len(l.last), ok)
	}
}

func TestClass(t *testing.T) {
	for reason, want := range map[string]string{
		"":                                  "",
		"element 17 is not a string":        "element 0 is not a string",
		`bad header "x \" y": lengths 3,22`: `bad header "": lengths 0,0`,
		`never closed "x`:                   `never closed "`,
		"no number":                         "no number",
	} {
		if got := class(reason); got != want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
	if got := class(strings.Repeat("x", 1000)); len(got) != maxReason {
		t.Errorf("%d bytes of a reason count", len(got))
	}
}

func TestLevels(t *testing.T) {
	l, lines := begin()
	l.Log(slog.LevelDebug, "what", "a", "b")
	if got := lines(); got != nil || len(l.last) != 0 {
		t.Errorf("a level that is not logged costs memory, or is logged: %q", got)
	}
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(slog.New(slog.DiscardHandler))
		for range 2 {
			for i := range 10 * maxPerSecond {
				if busy := l.Busy(); busy != (i >= maxPerSecond) {
					t.Fatalf("line %d: busy %v", i+1, busy)
				}
			}
			time.Sleep(time.Second)
		}
		if n := l.suppressed.Value(); n != 18*maxPerSecond {
			t.Errorf("%d lines count as left out", n)
		}
	})
}
