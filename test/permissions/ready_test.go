package permissions

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/subjects"
)

// start runs an edge at a server as a user of the contract.
func start(t *testing.T, server *natsdtest.Server, user string, namespaces map[string]rule.Namespace) *edgetest.Node {
	t.Helper()
	url := strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"-secret@", 1)
	return edgetest.Start(t, edgetest.Options{NATS: url, Replies: []string{"_INBOX.>", "orders.>"}, Namespaces: namespaces})
}

// usual are the namespaces of the edge in most of these tests.
var usual = map[string]rule.Namespace{"/": {Connect: rule.ConnectOpen},
	"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}}}

// unpermitted returns the missing permissions for which an edge is not ready.
func unpermitted(n *edgetest.Node) string {
	for _, why := range n.Bus.Ready() {
		if strings.Contains(why, "permit") && strings.Contains(why, "docs/subjects.md") {
			return why
		}
	}
	return ""
}

// lines returns the log lines of warnings and errors.
func lines(n *edgetest.Node) (found []string) {
	for _, line := range n.Logged() {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			found = append(found, line)
		}
	}
	return found
}

// neverReady checks for some beats that an edge is not ready.
func neverReady(t *testing.T, n *edgetest.Node) {
	t.Helper()
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if len(n.Bus.Ready()) == 0 {
			t.Fatal("the edge says that it is ready")
		}
	}
	edgetest.Eventually(t, "the log says why", func() bool { return len(lines(n)) > 0 })
}

// An edge that logs in as the service is never ready, and one log line names all missing permissions.
func TestAnEdgeThatLogsInAsTheService(t *testing.T) {
	t.Parallel()
	n := start(t, natsdtest.Start(t, documented(t)), "chat", usual)
	neverReady(t, n)
	why := unpermitted(n)
	all := lines(n)
	if len(all) != 1 {
		t.Fatalf("%d lines, want 1:\n%s", len(all), strings.Join(all, "\n"))
	}
	for _, part := range []string{"sio.*.on.>", "sio.$edge.>", "sio.*.*.all", "sio.*.*.room.>", "sio.*.*.socket.*.*",
		"sio.*.ack.*.*.*", "docs/subjects.md"} {
		if !strings.Contains(why, part) || !strings.Contains(all[0], part) {
			t.Errorf("%s is missing in\n%s\n%s", part, why, all[0])
		}
	}
}

// Each permission of an edge is missing once.
func TestEachPermissionThatLacks(t *testing.T) {
	text := documented(t)
	for permission, needed := range map[string]bool{
		"sio.*.on.>": true, "sio.$edge.>": true, "sio.*.*.all": true, "sio.*.*.room.>": true, "sio.*.*.socket.*.*": true,
		"sio.*.ack.*.*.*": true, "sio.$svc.>": true,
		// These are for relay rules, owners and answers: others choose the subjects.
		"sio.*.own.>": false, "sio.*.emit.>": false, "sio.*.broadcast.>": false, "sio.$svc.*.*.ping": false,
		"_INBOX.>": false, "$SRV.>": false,
	} {
		t.Run(permission, func(t *testing.T) {
			t.Parallel()
			begin := strings.Index(text, "user: edge")
			end := begin + strings.Index(text[begin:], "user: chat")
			conf := text[:begin] + strings.ReplaceAll(text[begin:end], `"`+permission+`"`, `"nothing"`) + text[end:]
			n := start(t, natsdtest.Start(t, conf), "edge", usual)
			if !needed {
				n.Ready()
				return
			}
			neverReady(t, n)
			all := lines(n)
			if why := unpermitted(n); !strings.Contains(why, permission) || len(all) != 1 ||
				!strings.Contains(all[0], permission) {
				t.Errorf("it is not ready because: %s; the log has:\n%s", why, strings.Join(all, "\n"))
			}
		})
	}
}

// If NATS permits the events of one namespace and not of another, the other is named.
func TestANamespaceThatIsNotPermitted(t *testing.T) {
	t.Parallel()
	conf := strings.Replace(documented(t), `"sio.*.on.>"`, `"sio._.on.>"`, 1)
	n := start(t, natsdtest.Start(t, conf), "edge", usual)
	neverReady(t, n)
	if why := unpermitted(n); !strings.Contains(why, "publish [sio.chat.on.>]") {
		t.Error(why)
	}
}

// Neither publishers nor clients can make an edge unready by what they choose: where answers go, the names of events,
// rooms, and of namespaces of a pattern.
func TestOthersCannotMakeAnEdgeUnready(t *testing.T) {
	t.Parallel()
	conf := strings.Replace(documented(t), `publish: ["sio.*.on.>"`,
		`publish: {deny: ["sio.*.on.forbidden", "sio.tenant-2.>"], allow: ["sio.*.on.>"`, 1)
	conf = strings.Replace(conf, `"_INBOX.>"]`, `"_INBOX.>"]}`, 1)
	conf = strings.Replace(conf, `subscribe: ["sio.*.*.all"`,
		`subscribe: {deny: ["sio.*.*.room.forbidden", "sio.tenant-2.>"], allow: ["sio.*.*.all"`, 1)
	conf = strings.Replace(conf, `"$SRV.>"]`, `"$SRV.>"]}`, 1)
	server := natsdtest.Start(t, conf)
	n := start(t, server, "edge", map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}}, "/tenant-*": {Connect: rule.ConnectOpen},
	}).Ready()
	s := &stage{t: t, server: server, Node: n}
	before := s.Figure("nats_errors_total", "")
	service := s.as("chat")
	ann, other := n.Dial("ann"), n.Dial("other")
	id := ann.Connect("/chat", "")
	other.Connect("/tenant-2", "")
	for range 5 {
		service.publish("sio.chat.join.socket."+id, "orders.delete", `["x"]`)
		ann.Send(`42/chat,["forbidden"]`)
		ann.Send(`42/chat,["join","forbidden"]`)
		ann.Send(`42/chat,["leave","forbidden"]`)
	}
	edgetest.Eventually(t, "NATS has refused all of it",
		func() bool { return s.Figure("nats_errors_total", "") >= before+5+5+1+2 })
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if why := n.Bus.Ready(); len(why) > 0 {
			t.Fatalf("the edge is not ready: %q", why)
		}
	}
	for _, subject := range []string{"orders.delete", "sio.chat.on.forbidden", "sio.chat.*.room.forbidden",
		"sio.tenant-2.on.connect", "sio.tenant-2.*.all"} {
		count := 0
		for _, line := range n.Logged() {
			if strings.Contains(line+" ", "subject="+subject+" ") {
				count++
			}
		}
		if count != 1 {
			t.Errorf("%d lines about %s, want 1", count, subject)
		}
	}
}

// When an operator mends the permissions the edge becomes ready: with a reload, which keeps its connection, and with
// a restart. And when they are taken away it does not stay ready.
func TestPermissionsThatChange(t *testing.T) {
	t.Parallel()
	good := documented(t)
	bad := strings.NewReplacer(`"sio.*.on.>", "sio.*.own.>"`, `"sio.*.own.>"`, `"sio.$edge.>"`, `"sio.x"`,
		`"sio.*.*.all", "sio.*.*.room.>"`, `"sio.x"`).Replace(good)
	server := natsdtest.Start(t, bad)
	n := start(t, server, "edge", usual)
	neverReady(t, n)
	server.Reload(good)
	n.Ready()
	edgetest.Eventually(t, "the log says so", func() bool {
		return strings.Contains(strings.Join(n.Logged(), "\n"), "NATS permits all that this edge needs again")
	})
	s := &stage{t: t, server: server, Node: n}
	s.admin = s.as("admin")
	ann := n.Dial("ann")
	ann.Connect("/chat", "")
	s.admin.publish("sio.chat.emit.all", "", `["news"]`)
	ann.Expect(`42/chat,["news"]`)
	if answer, err := s.admin.NC.Request("sio.chat.join.all", []byte(`["x"]`), edgetest.Patience); err != nil ||
		answer.Header != nil {
		t.Errorf("a join was answered %v, %v", answer, err)
	}

	server.Reload(bad)
	edgetest.Eventually(t, "the edge is not ready any more", func() bool { return unpermitted(n) != "" })
	server.Stop()
	server.Reload(good)
	server.Restart()
	n.Ready()
}

// A room that NATS did not let the edge subscribe is subscribed as soon as it does, without a reconnect.
func TestARoomThatIsPermittedLater(t *testing.T) {
	t.Parallel()
	good := documented(t)
	bad := strings.Replace(good, `subscribe: ["sio.*.*.all"`,
		`subscribe: {deny: ["sio.*.*.room.vip", "sio.*.*.room.two"], allow: ["sio.*.*.all"`, 1)
	bad = strings.Replace(bad, `"$SRV.>"]`, `"$SRV.>"]}`, 1)
	server := natsdtest.Start(t, bad)
	n := start(t, server, "edge", usual).Ready()
	s := &stage{t: t, server: server, Node: n}
	s.admin = s.as("admin")
	ann := n.Dial("ann")
	ann.Connect("/chat", "")
	for i, room := range []string{"vip", "two"} {
		ann.Send(fmt.Sprintf(`42/chat,%d["join",%q]`, i, room))
		ann.Expect(fmt.Sprintf(`43/chat,%d[{"ok":true}]`, i))
	}
	edgetest.Eventually(t, "NATS has refused the rooms", func() bool { return s.Figure("nats_errors_total", "") >= 2 })
	server.Reload(good)
	for _, room := range []string{"vip", "two"} {
		edgetest.Eventually(t, "the room is subscribed", func() bool {
			s.admin.publish("sio.chat.emit.room."+room, "", `["news"]`)
			s.admin.publish("sio.chat.emit.all", "", `["marker"]`)
			heard := ann.Next()
			if heard == `42/chat,["news"]` {
				ann.Expect(`42/chat,["marker"]`)
				return true
			}
			return false
		})
	}
}

// The probe is an event of the edge's own: services that listen to everything see its name, with the edge, and cannot
// answer it; a client that emits the same name does so on another subject.
func TestTheProbe(t *testing.T) {
	server := natsdtest.Start(t, documented(t))
	s := &stage{t: t, server: server}
	s.admin = s.as("admin")
	heard := s.admin.Hear("sio.*.on.>")
	s.Node = start(t, server, "edge", usual).Ready()
	var found []string
	for range 2 {
		m := heard.Next()
		if m.Reply != "" || m.Header != nil || string(m.Data) != `["$ready",{"edge":"`+s.ID+`"}]` {
			t.Errorf("on %s came %s, reply %q", m.Subject, m.Data, m.Reply)
		}
		found = append(found, m.Subject)
	}
	if slices.Sort(found); !slices.Equal(found, []string{"sio._.on.$ready", "sio.chat.on.$ready"}) {
		t.Errorf("the probes are %q", found)
	}
	ann := s.Dial("ann")
	ann.Connect("/chat", "")
	ann.Send(`42/chat,["$ready",1]`)
	for _, want := range []string{"sio.chat.on.connect", "sio.chat.on.%24ready"} {
		if m, err := heard.NextMsg(edgetest.Patience); err != nil || m.Subject != want {
			t.Fatalf("%v, %v; want %s", m, err, want)
		}
	}
}

// What the code takes for the permissions of an edge is what the contract lists.
func TestEdgePermissions(t *testing.T) {
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)user: edge,.*?publish: \[(.*?)\]\s+subscribe: \[(.*?)\]`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("the contract lists no permissions of an edge")
	}
	prefix, _ := subjects.NewPrefix("sio")
	publish, subscribe := prefix.EdgePermissions(false, false)
	for i, want := range [][]string{publish, subscribe} {
		got := quoted(found[i+1])
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the contract lists %q, the code %q", got, want)
		}
	}
}

// quoted returns the strings of a list in a configuration.
func quoted(list string) (all []string) {
	for _, m := range regexp.MustCompile(`"(.*?)"`).FindAllStringSubmatch(list, -1) {
		all = append(all, m[1])
	}
	return all
}
