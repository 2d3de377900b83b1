package permissions

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/subjects"
)

// presence returns the lists that the contract adds to an edge's where rooms show who is in them.
func presence(t *testing.T) (publish, subscribe string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "**Where rooms show [who is in them]")
	found := regexp.MustCompile("(?ms)^```hcl\npublish: \\[(.*?)\\]\nsubscribe: \\[(.*?)\\]\n```$").FindStringSubmatch(rest)
	if found == nil {
		t.Fatal("the contract lists no permissions for presence")
	}
	return found[1], found[2]
}

// What the code takes for the permissions of an edge with presence is what the contract lists.
func TestPresencePermissions(t *testing.T) {
	prefix, _ := subjects.NewPrefix("sio")
	plainPublish, plainSubscribe := prefix.EdgePermissions(false, false)
	publish, subscribe := prefix.EdgePermissions(false, true)
	listed, listens := presence(t)
	for _, c := range []struct {
		all, plain []string
		listed     string
	}{{publish, plainPublish, listed}, {subscribe, plainSubscribe, listens}} {
		more := slices.DeleteFunc(c.all, func(subject string) bool { return slices.Contains(c.plain, subject) })
		if got := quoted(c.listed); !slices.Equal(got, more) {
			t.Errorf("the contract lists %q, the code %q", got, more)
		}
	}
}

// With the documented permissions edges show who is in a room, a service reads it, and NATS refuses nothing. Without
// them an edge is not ready, and says what is missing.
func TestPresenceWithPermissions(t *testing.T) {
	publish, subscribe := presence(t)
	conf := documented(t)
	for list, more := range map[string]string{"publish: [": publish, "subscribe: [": subscribe} {
		user, rest, _ := strings.Cut(conf, "user: edge,")
		conf = user + "user: edge," + strings.Replace(rest, list, list+more+", ", 1)
	}
	s := &stage{t: t, server: natsdtest.Start(t, conf)}
	namespaces := map[string]rule.Namespace{"/chat": {Presence: rule.DefaultPresence("*")}}
	inChat := []string{"_INBOX.chat.>"} // edges answer each other all the same
	nodes := []*edgetest.Node{
		edgetest.Start(t, edgetest.Options{NATS: s.url("edge"), Namespaces: namespaces, Replies: inChat}).Ready(),
		edgetest.Start(t, edgetest.Options{NATS: s.url("edge"), Namespaces: namespaces, Replies: inChat}).Ready(),
	}
	service := s.as("chat")
	service.answer("sio.chat.on.connect", `[{"rooms":["news"],"user":"u"}]`)
	heard := service.Hear("sio.chat.member.room.news")
	ann := nodes[0].Enter("ann", "/chat")
	if m := heard.Next(); !strings.Contains(string(m.Data), ann.ID) {
		t.Errorf("the service hears %s", m.Data)
	}
	edgetest.Eventually(t, "the edges know each other", func() bool { return len(nodes[1].Cluster.Edges()) == 2 })
	bob := nodes[1].Enter("bob", "/chat") // whose edge must ask that of ann
	seen := ""
	for !strings.Contains(seen, ann.ID) || !strings.Contains(seen, bob.ID) {
		seen += bob.Next()
	}
	service.unhindered()
	for _, n := range nodes {
		if refused := n.Figure("nats_errors_total", ""); refused != 0 || n.Figure("presence_reads_failed_total", "") != 0 {
			t.Errorf("NATS refused an edge %d things:\n%s", refused, strings.Join(n.Logged(), "\n"))
		}
	}
	plain := start(t, natsdtest.Start(t, documented(t)), "edge", namespaces)
	neverReady(t, plain)
	edgetest.Eventually(t, "it says what is missing", func() bool { return strings.Contains(unpermitted(plain), "_INBOX.edge.>") })
}
