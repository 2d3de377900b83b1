package msg

import (
	"errors"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for body, want := range map[string]string{
		"":                       ": it is empty",
		" \n":                    ": it is empty",
		"hi":                     ": it does not begin with [",
		`["m","hi"`:              ": it ends too early",
		`['m']`:                  ": strings must be in double quotes, not in single ones",
		`["m" "hi"]`:             ": the fault is inside the array, at byte 6",
		`["m"]` + "\x00\x01\x02": ": the fault is inside the array, at byte 6",
		`["m"]`:                  "", // of an event with attachments
	} {
		err := Explain([]byte(body), ErrNotJSON)
		if got, _ := strings.CutPrefix(err.Error(), ErrNotJSON.Error()); got != want || !errors.Is(err, ErrNotJSON) {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
	if err := Explain(nil, ErrNotArray); err != ErrNotArray {
		t.Errorf("another error: %v", err)
	}
}
