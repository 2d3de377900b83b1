package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The edge must link neither nats-server, nor a gateway, nor the live tail, even if packages that it shares with other programs change.
func TestLinksNoOtherProgram(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(out)) {
		if strings.Contains(name, "nats-server") || strings.HasPrefix(name, "partyline/gateway") || strings.HasPrefix(name, "partyline/backend") ||
			strings.HasPrefix(name, "partyline/web/tail") {
			t.Errorf("cmd/edge links %s", name)
		}
	}
}
