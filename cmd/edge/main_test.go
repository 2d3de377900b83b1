package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The edge must not link nats-server, even if packages that it shares with cmd/embedded change.
func TestDoesNotLinkNATSServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(out)) {
		if strings.Contains(name, "nats-server") {
			t.Errorf("cmd/edge links %s", name)
		}
	}
}
