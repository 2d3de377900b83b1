package config

import (
	"slices"
	"testing"
	"time"
)

// The log keeps events as long as the namespace that needs them longest.
func TestLogAge(t *testing.T) {
	for namespaces, want := range map[string]time.Duration{
		`{"/":{}}`:                        0,
		`{"/":{"recovery":{"for":"2m"}}}`: 2*time.Minute + 45*time.Second + 30*time.Second,
		`{"/":{"recovery":{"for":"2m"}},"/a":{"rewind":[{"age":"5m"},{"age":"1h"}]}}`: time.Hour,
		`{"/":{"rewind":{"age":"1m"}},"/a":{"recovery":{"for":"1m"}}}`:                135 * time.Second,
	} {
		c := mustLoad(t, FlavourEdge, nil, []string{"PARTYLINE_NAMESPACES=" + namespaces}).Config
		if got := c.LogAge(); got != want {
			t.Errorf("%s: %s, want %s", namespaces, got, want)
		}
		if got := c.Recovery.Bytes(); got != 1<<30 {
			t.Errorf("max_bytes is %d, want 1 GiB", got)
		}
	}
}

// Settings of a log that no namespace uses have no effect. The operator may have forgotten the namespace.
func TestUnusedLogIsAWarning(t *testing.T) {
	unused := []string{"--recovery.storage=memory"}
	if got, want := mustLoad(t, FlavourEdge, unused, nil).Warnings, []string{"recovery.storage: does nothing: no namespace has recovery or rewind"}; !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	if got := mustLoad(t, FlavourEdge, unused, []string{`PARTYLINE_NAMESPACES={"/":{"rewind":{}}}`}).Warnings; len(got) > 0 {
		t.Errorf("warnings %q, want none", got)
	}
}
