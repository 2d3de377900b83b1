package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// TestMoveToEdgesFromOne plays docs/how-to/grow.md from a single machine, which joins the cluster of the servers with one
// restart: its clients come back, but do not recover. From then on they miss nothing.
func TestMoveToEdgesFromOne(t *testing.T) {
	edgetest.ForRelease(t, "the move from a single embedded to edges")
	m := alone(t)
	edges := &balancer{edges: []string{m.clients}}
	p, number := enter(t, "/chat_room", edges.next), 0
	before := edgetest.Connect(t, "nats://"+m.nats)
	store(t, before, &number, 5)
	before.Close()

	beside := serveBeside(t, []*machine{m})
	m.stop(t)
	m.join(t, beside)
	m.start(t)
	nc := edgetest.Connect(t, "nats://"+token+"@"+m.nats)
	edgetest.Eventually(t, "the log has three copies", func() bool { return leaderOf(t, nc, "SIO_LOG") != "" && leaderOf(t, nc, "SIO_SESSIONS") != "" })
	reaches(t, "it is back", func(body string) { _ = nc.Publish("sio.chat_room.emit.all", []byte(body)) }, p)
	p.mu.Lock()
	if len(p.ids) != 2 || p.ids[0] == p.ids[1] {
		t.Errorf("after the restart it was %q, want another id once", p.ids)
	}
	p.ids = p.ids[1:]
	p.mu.Unlock()

	stored := store(t, nc, &number, 10)
	beside.keepStreams(t, nc)
	for i := range beside.urls {
		edges.add(startEdge(t, i, beside))
	}
	nc.Close()
	edges.remove(m.clients)
	m.stop(t)
	beside.removePeer(t, m.name)
	beside.forget(t)
	stored = append(stored, store(t, edgetest.Connect(t, beside.urls[0]), &number, 10)...)
	p.missedNothing(t, stored)
	beside.hasMajority(t)
}

// alone starts a machine whose NATS has no file of its own.
func alone(t *testing.T) *machine {
	t.Helper()
	ports := stand.FreePorts(t, 3)
	at := func(i int) string { return fmt.Sprint("127.0.0.1:", ports[i]) }
	m := &machine{name: "one", files: t.TempDir(), clients: at(0), nats: at(1), route: at(2)}
	m.write(t, "partyline.yaml", strings.NewReplacer("10.0.0.1:3000", m.clients, "recovery: {replicas: 3}", "",
		"server_config: /etc/partyline/nats.conf", fmt.Sprintf("{listen: %q, jetstream: {dir: %q}}", m.nats, filepath.Join(m.files, "alone")),
	).Replace(block(t, "yml", 0)))
	m.start(t)
	return m
}

// join writes the files of a machine in the cluster of the servers.
func (m *machine) join(t *testing.T, beside *servers) {
	t.Helper()
	isRoutes := regexp.MustCompile(`(?s)routes: \[.*?\]`)
	conf := isRoutes.ReplaceAllLiteralString(block(t, "conf", 0), isRoutes.FindString(beside.conf[0]))
	m.token = token
	m.write(t, "nats.conf", strings.NewReplacer("127.0.0.1:4222", m.nats, "listen: 10.0.0.1:6222", "listen: "+m.route, "/var/lib/partyline", m.files).Replace(conf))
	m.write(t, "partyline.yaml", strings.NewReplacer("10.0.0.1:3000", m.clients, "/etc/partyline", m.files).Replace(block(t, "yml", 0)))
}
