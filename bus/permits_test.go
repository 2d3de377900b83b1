package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"sio.*.on.>", "sio.chat.on.$ready", true},
		{"sio.*.on.>", "sio.chat.on", false},
		{"sio.*.on.>", "sio.chat.own.x", false},
		{"sio.*.*.all", "sio.*.join.all", true},
		{"sio.*.*.all", "sio.*.join.room.>", false},
		{"sio.*.*.room.>", "sio.*.join.room.>", true},
		{"sio.*.*.room.*", "sio.*.join.room.>", false},
		{"sio.chat.*.all", "sio.*.join.all", false},
		{"sio.a", "sio.a.b", false},
		{"sio.a.b", "sio.a", false},
		{">", "x", true},
		{"x", "x", true},
	} {
		if got := covers(c.a, c.b); got != c.want {
			t.Errorf("%s covers %s: %v", c.a, c.b, got)
		}
	}
}

// What the server says, as nats.go passes it on.
func TestViolations(t *testing.T) {
	for text, want := range map[string]right{
		`Permissions Violation for Publish to "sio._.on.x"`:                           {true, "sio._.on.x"},
		`Permissions Violation for Publish to "sio._.on.a\"b"`:                        {true, `sio._.on.a"b`},
		`Permissions Violation for Subscription to "sio.*.join.all" using queue "q"`:  {false, "sio.*.join.all"},
		`Permissions Violation for Subscription to "sio.*.join.all" (sid "7")`:        {false, "sio.*.join.all"},
		`Permissions Violation for Subscription to "sio.x.*.room.y", too many tokens`: {false, "sio.x.*.room.y"},
		`Permissions Violation for something else`:                                    {},
	} {
		if got := violationOf(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text)); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	if got := violationOf(errors.New("x")); got != (right{}) {
		t.Errorf("%+v", got)
	}
}
