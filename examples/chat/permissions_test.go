package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"partyline/internal/natsd/natsdtest"
)

var users = regexp.MustCompile(`(?ms)^authorization \{$.*?^\}$`)

// deployed returns the addresses of a NATS server with the users of compose.yaml, as each of them.
func deployed(t *testing.T) (as func(user string) string) {
	t.Helper()
	conf, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\$NATS_(\w+)_PASSWORD`).ReplaceAllString(users.FindString(string(conf)), "$1-secret")
	url := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir()), text).ClientURL()
	return func(user string) string {
		return strings.Replace(url, "nats://", "nats://"+user+":"+strings.ToUpper(user)+"-secret@", 1)
	}
}

// The users of compose.yaml's NATS may do all that the edges and the chat do: an instance comes and goes, clients
// talk.
func TestPermissionsOfCompose(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	as := deployed(t)
	s := &stage{edgeOf(t, as("edge")), t, as("chat")}
	first := s.instance("one")
	ann, bob := s.enter("Ann", ""), s.enter("Bob", "")
	ann.joins("lobby")
	bob.joins("lobby")
	ann.says("lobby", "hello")
	bob.hearsText("Ann", "hello")
	s.instance("two")
	first()
	ann.is(ann.asks("nickname", "Anna"), `{"name":"Anna"}`)
	ann.says("lobby", "still here")
	bob.hearsText("Anna", "still here")
	ann.Hangup()
	bob.hearsOf("gone", "Anna")
	for _, m := range s.Bus.Metrics().Metrics() {
		if m.Name == "nats_errors_total" && m.Read() != 0 {
			t.Errorf("NATS refused the edge %g things", m.Read())
		}
	}
}
