package edgetest

import (
	"testing"

	"partyline/engine/enginetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// Socket is a client in one namespace whose name needs no escapes.
type Socket struct {
	*enginetest.Client
	ID    string
	Head  string // the namespace in packets: "/chat," or ""
	Token string // the namespace in subjects
}

// Enter connects a session to a namespace that admits it.
func Enter(c *enginetest.Client, namespace, auth string) *Socket {
	so := &Socket{Client: c, Head: namespace + ",", Token: namespace[1:]}
	if namespace == "/" {
		so.Head, so.Token = "", "_"
	}
	so.ID = c.Connect(namespace, auth)
	return so
}

// Enter dials and connects to a namespace.
func (n *Node) Enter(name, namespace string) *Socket {
	n.t.Helper()
	return Enter(n.Dial(name), namespace, "")
}

// Emit sends an event; id is the ack id, or "".
func (so *Socket) Emit(id, body string) { so.Send("42" + so.Head + id + body) }

// Gets waits for an event as the next frame.
func (so *Socket) Gets(body string) { so.Expect("42" + so.Head + body) }

// Acks answers an event.
func (so *Socket) Acks(id, body string) { so.Send("43" + so.Head + id + body) }

// Acked waits for an ack as the next frame.
func (so *Socket) Acked(id, body string) { so.Expect("43" + so.Head + id + body) }

// Address is the subject that reaches the socket.
func (so *Socket) Address() string { return "sio." + so.Token + ".emit.socket." + so.ID }

// Ack is the reply subject of an event that wanted an ack.
func (so *Socket) Ack(id string) string { return "sio." + so.Token + ".ack." + so.ID + "." + id }

// Stage is what most tests need: NATS, an edge, and a NATS client.
type Stage struct {
	*Node
	*Peer
	NATS *natsdtest.Server
}

// Begin starts NATS and a stage.
func Begin(t testing.TB, namespaces map[string]rule.Namespace, change ...func(*Options)) *Stage {
	t.Helper()
	return BeginAt(t, natsdtest.Start(t), namespaces, change...)
}

// BeginAt is Begin with a NATS server that is already running.
func BeginAt(t testing.TB, server *natsdtest.Server, namespaces map[string]rule.Namespace, change ...func(*Options)) *Stage {
	t.Helper()
	o := Options{NATS: server.ClientURL(), Namespaces: namespaces}
	for _, c := range change {
		c(&o)
	}
	return &Stage{Node: Start(t, o).Ready(), Peer: NewPeer(t, server.ClientURL()), NATS: server}
}
