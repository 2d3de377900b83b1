package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// cluster is three NATS servers with an edge at each; the service is at the first server.
func cluster(t *testing.T, namespaces rules) (first *stage, edges []*edgetest.Node) {
	t.Helper()
	return edgesAt(t, natsdtest.StartCluster(t, 3), namespaces)
}

// edgesAt starts an edge at each NATS server; the service is at the first one. It returns when each server knows each
// edge.
func edgesAt(t *testing.T, servers []*natsdtest.Server, namespaces rules) (first *stage, edges []*edgetest.Node) {
	t.Helper()
	first = beginAt(t, servers[0], namespaces)
	edges = []*edgetest.Node{first.Node}
	for _, server := range servers[1:] {
		edges = append(edges, edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces}).Ready())
	}
	for i, server := range servers {
		nc := edgetest.Connect(t, server.ClientURL())
		for j, n := range edges {
			edgetest.Eventually(t, fmt.Sprintf("server %d knows edge %d", i, j), func() bool {
				answer, err := nc.Request("sio.x.leave.socket."+n.ID+".aaaaaaaaaaaaaaaaaaaa", []byte(`["x"]`), time.Second)
				return err == nil && answer.Header.Get("Sio-Error") == "unknown socket"
			})
		}
	}
	return first, edges
}

// arrive connects one socket per edge, and returns when the service has received an event of each. By then their
// subscriptions have reached its server, too: they travelled first.
func (s *stage) arrive(edges []*edgetest.Node, namespace string) (sockets []*socket) {
	s.t.Helper()
	for i, n := range edges {
		so := n.Enter(fmt.Sprint("client", i), namespace)
		said := s.hear("sio." + so.Token + ".on.arrived")
		for len(sockets) == i { // an event is lost until the service's subscription has spread to that edge's server
			so.Emit("", `["arrived"]`)
			if m, err := said.Subscription.NextMsg(100 * time.Millisecond); err == nil && m.Reply == so.Address() {
				sockets = append(sockets, so)
			}
		}
	}
	return sockets
}

// answers collects one answer per edge to each request, and checks that there are no more.
func (s *stage) answers(edges []*edgetest.Node, sockets []*socket, subject, body string, headers ...string) map[string]int {
	s.t.Helper()
	inbox := nats.NewInbox()
	ear := s.hear(inbox)
	s.PublishReply(subject, inbox, body, headers...)
	got := map[string]int{}
	take := func() (string, int) {
		var answer []struct {
			Edge    string
			Sockets int
		}
		m := ear.Next()
		if err := json.Unmarshal(m.Data, &answer); err != nil || len(answer) != 1 {
			s.t.Fatalf("the answer to %s is %q %v", subject, m.Data, m.Header)
		}
		return answer[0].Edge, answer[0].Sockets
	}
	for range edges {
		id, n := take()
		if _, twice := got[id]; twice {
			s.t.Fatalf("%s answered %s twice", id, subject)
		}
		got[id] = n
	}
	for _, so := range sockets { // every edge's next answer is the one to this
		s.PublishReply("sio."+so.Token+".leave.socket."+so.ID, inbox, `["marker"]`)
	}
	seen := map[string]bool{}
	for range sockets {
		id, _ := take()
		if seen[id] {
			s.t.Fatalf("%s answered %s twice", id, subject)
		}
		seen[id] = true
	}
	return got
}

func TestEmitsReachAllEdges(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	s.join(so[0], `["x"]`)
	if m := s.Ask("sio.chat.join.socket."+so[2].ID, `["x"]`); string(m.Data) != fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, edges[2].ID) {
		t.Fatalf("the join was answered %q", m.Data)
	}
	s.Publish("sio.chat.emit.all", `["all"]`)
	s.Publish("sio.chat.emit.room.x", `["room"]`)
	s.Publish(so[1].Address(), `["socket"]`)
	s.PublishReply("sio.chat.broadcast.all", so[2].Address(), `["but 2"]`)
	s.PublishReply("sio.chat.broadcast.room.x", so[0].Ack("5"), `["x but 0"]`)
	s.Publish("sio.chat.emit.all", `["union"]`, "Sio-Rooms: x", "Sio-Rooms: "+so[1].ID, "Sio-Except: "+so[0].ID)
	for i, events := range [][]string{
		{`["all"]`, `["room"]`, `["but 2"]`}, {`["all"]`, `["socket"]`, `["but 2"]`, `["union"]`}, {`["all"]`, `["room"]`, `["x but 0"]`, `["union"]`},
	} {
		for _, event := range events {
			so[i].Gets(event)
		}
	}
	s.onlyMarker(so...)
}

func TestEveryEdgeAnswersOnce(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	check := func(subject, body string, want [3]int, headers ...string) {
		t.Helper()
		got := s.answers(edges, so, subject, body, headers...)
		for i, n := range edges {
			if count, answered := got[n.ID]; !answered || count != want[i] {
				t.Errorf("%s %s: the answers are %v, edge %d is %s, want %d", subject, body, got, i, n.ID, want[i])
			}
		}
	}
	check("sio.chat.join.all", `["x"]`, [3]int{1, 1, 1})
	check("sio.chat.join.room.x", `["y"]`, [3]int{1, 1, 1})
	check("sio.chat.leave.all", `["x"]`, [3]int{0, 1, 0}, "Sio-Rooms: "+so[1].ID)
	check("sio.chat.join.room.x", `["z"]`, [3]int{1, 0, 1})
	check("sio.chat.leave.room.nobody", `["z"]`, [3]int{0, 0, 0})
	check("sio.nowhere.disconnect.all", ``, [3]int{0, 0, 0})
	s.Publish("sio.chat.disconnect.room.z", "[true]")
	so[0].Expect("41/chat,")
	so[2].Expect("41/chat,")
	so[2].ExpectEnd()
	s.onlyMarker(so[1])
}

// A plain request to one socket is answered by its edge alone.
func TestOnlyItsEdgeAnswersForASocket(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	for i := range so {
		got := s.answers(edges[:1], so, "sio.chat.join.socket."+so[i].ID, `["x"]`)
		if got[edges[i].ID] != 1 {
			t.Errorf("the answers for socket %d are %v", i, got)
		}
	}
	s.fails("sio.chat.join.socket."+edges[1].ID+".aaaaaaaaaaaaaaaaaaaa", `["x"]`, "unknown socket")
}

// A service that has the answer to its join reaches the new member, at any edge.
func TestJoinHoldsAcrossServers(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	for i := range 300 {
		who, room := so[i%3], fmt.Sprint("room", i)
		s.Ask("sio.chat.join.socket."+who.ID, `["`+room+`"]`)
		s.Publish("sio.chat.emit.room."+room, `["`+room+`"]`)
		who.Gets(`["` + room + `"]`)
	}
}

func TestAcksAndAdmissionsAcrossServers(t *testing.T) {
	s, edges := cluster(t, usual())
	s.serve("door", `[{"rooms":["x"]}]`)
	questions := s.hear("sio.door.on.question")
	for i, n := range edges {
		so := n.Enter(fmt.Sprint("client", i), "/door") // the subscription spreads in the background
		so.Emit("8", `["question"]`)
		if err := questions.Gets("sio.door.on.question", so.Ack("8"), `["question"]`).Respond([]byte(`["answer"]`)); err != nil {
			t.Fatal(err)
		}
		so.Expect(`43/door,8["answer"]`)
		s.Publish("sio.door.emit.room.x", `["x"]`)
		so.Gets(`["x"]`)
	}
}

// talk is the namespace in which clients of two edges talk by relay rules alone.
func talk(t *testing.T, one, two *edgetest.Node) {
	t.Helper()
	a, b := one.Enter("a", "/chat"), two.Enter("b", "/chat")
	for _, so := range []*socket{a, b} {
		so.Emit("1", `["join","x"]`)
		so.Expect(`43/chat,1[{"ok":true}]`)
	}
	// Subscriptions spread asynchronously. A client that learns of a join by a later message of that edge reaches the
	// member.
	a.Emit("", `["direct","`+b.ID+`"]`)
	b.Gets(`["direct","` + b.ID + `"]`)
	b.Emit("", `["direct","`+a.ID+`"]`)
	a.Gets(`["direct","` + a.ID + `"]`)
	for i := range 100 {
		text := fmt.Sprintf(`["message",%d]`, i)
		a.Emit("", text)
		b.Gets(text)
		b.Emit("", text)
		a.Gets(text)
	}
}

func chatRules() rules {
	return rules{"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{
		{Event: "message", To: rule.ToRooms}, {Event: "direct", To: rule.ToSocket},
	}}}
}

func TestRelayAcrossServers(t *testing.T) {
	_, edges := cluster(t, chatRules())
	talk(t, edges[0], edges[2])
	talk(t, edges[1], edges[0])
}

// The product works with every NATS server, not only with an embedded one.
func TestSeparateServerProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	url := process(t)
	one := edgetest.Start(t, edgetest.Options{NATS: url, Namespaces: chatRules()}).Ready()
	two := edgetest.Start(t, edgetest.Options{NATS: url, Namespaces: chatRules()}).Ready()
	talk(t, one, two)
	nc := edgetest.Connect(t, url)
	events := hearOn(t, nc, "sio.chat.on.question")
	a := one.Enter("a", "/chat")
	a.Emit("1", `["question"]`)
	if err := events.Next().Respond([]byte(`["answer"]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`43/chat,1["answer"]`)
}

// process builds nats-server, runs it on a free port until the test ends, and returns its URL.
func process(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("go build nats-server: %v\n%s", err, out)
	}
	server := exec.Command(binary, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	file := filepath.Join(dir, fmt.Sprintf("nats-server_%d.ports", server.Process.Pid))
	var ports struct{ NATS []string }
	edgetest.Eventually(t, "nats-server wrote "+file, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &ports) == nil && len(ports.NATS) > 0
	})
	return ports.NATS[0]
}
