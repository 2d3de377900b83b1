package subjects

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxPrefixBytes is the most that a prefix may have: it stands in every subject and every reply subject.
const MaxPrefixBytes = 128

// ErrPrefix is wrapped by the errors of NewPrefix.
var ErrPrefix = errors.New("bad prefix")

// Prefix is what all subjects of one installation begin with, "sio" unless configured otherwise. NewPrefix makes it;
// the zero Prefix makes subjects that NATS refuses. It can be copied and compared.
//
// The builders append a whole subject to dst and return the extended slice. They check nothing: ns is a token of
// AppendNamespace, event and room are tails of AppendEvent and AppendRoom, verb is one token and socketID passes
// IsSocketID.
type Prefix struct {
	dotted string // with a dot behind
}

// NewPrefix checks a prefix: one or more tokens between dots, in valid UTF-8, at most MaxPrefixBytes bytes, without
// wildcards, white space and control characters, not beginning with "$" (which NATS keeps for itself). Its errors wrap
// ErrPrefix and say what is wrong.
func NewPrefix(s string) (Prefix, error) {
	fault := ""
	switch {
	case s == "":
		fault = "it is empty"
	case len(s) > MaxPrefixBytes:
		fault = "it is longer than " + strconv.Itoa(MaxPrefixBytes) + " bytes"
	case !utf8.ValidString(s):
		fault = "it is not valid UTF-8"
	case s[0] == '$':
		fault = "subjects that begin with $ belong to NATS"
	case !isLiteral(s):
		fault = "it must be tokens between single dots, without spaces, control characters, * and >"
	default:
		return Prefix{s + "."}, nil
	}
	return Prefix{}, fmt.Errorf("%w %.160q: %s", ErrPrefix, s, fault)
}

// String returns the prefix as it was given to NewPrefix, without a dot behind.
func (p Prefix) String() string { return strings.TrimSuffix(p.dotted, ".") }

// Covers tells whether subject lies under the prefix, whatever follows there.
func (p Prefix) Covers(subject string) bool {
	return len(subject) > len(p.dotted) && strings.HasPrefix(subject, p.dotted)
}

// AppendOn appends where a client's event goes: <p>.<ns>.on.<event>.
func (p Prefix) AppendOn(dst []byte, ns, event string) []byte {
	dst = p.appendVerb(dst, ns, VerbOn)
	return append(dst, event...)
}

// AppendAll appends a command for every socket of a namespace: <p>.<ns>.<verb>.all.
func (p Prefix) AppendAll(dst []byte, ns, verb string) []byte {
	dst = p.appendVerb(dst, ns, verb)
	return append(dst, wordAll...)
}

// AppendToRoom appends a command for the members of a room: <p>.<ns>.<verb>.room.<room>.
func (p Prefix) AppendToRoom(dst []byte, ns, verb, room string) []byte {
	dst = p.appendVerb(dst, ns, verb)
	dst = append(dst, wordRoom+"."...)
	return append(dst, room...)
}

// AppendToSocket appends a command for one socket: <p>.<ns>.<verb>.socket.<edge>.<id>. With VerbEmit it is the
// socket's address.
func (p Prefix) AppendToSocket(dst []byte, ns, verb, socketID string) []byte {
	dst = p.appendVerb(dst, ns, verb)
	dst = append(dst, wordSocket+"."...)
	return append(dst, socketID...)
}

// AppendAck appends the return address of an event that wants an ack: <p>.<ns>.ack.<edge>.<id>.<n>. With n above
// MaxAckNumber it is a subject that Parse refuses.
func (p Prefix) AppendAck(dst []byte, ns, socketID string, n uint64) []byte {
	dst = p.appendVerb(dst, ns, VerbAck)
	dst = append(dst, socketID...)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, n, 10)
}

// AppendConnectReply appends the return address of a connect request: <p>.<ns>.ack.<edge>.<id>.connect.
func (p Prefix) AppendConnectReply(dst []byte, ns, socketID string) []byte {
	dst = p.appendVerb(dst, ns, VerbAck)
	dst = append(dst, socketID...)
	return append(dst, "."+AckConnect...)
}

// AppendOwn appends where an event of a claimed socket goes: <p>.<ns>.own.<owner>.<event>.
func (p Prefix) AppendOwn(dst []byte, ns, owner, event string) []byte {
	dst = p.appendVerb(dst, ns, VerbOwn)
	dst = append(dst, owner...)
	dst = append(dst, '.')
	return append(dst, event...)
}

// AppendService appends where an event of a service for services goes: <p>.<ns>.service.<event>.
func (p Prefix) AppendService(dst []byte, ns, event string) []byte {
	dst = p.appendVerb(dst, ns, VerbService)
	return append(dst, event...)
}

// EdgeAnnouncement is where an edge announces itself: <p>.$edge.<edge>.<word>.
func (p Prefix) EdgeAnnouncement(edge, word string) string {
	return p.dotted + internalEdge + "." + edge + "." + word
}

// Pong is where an instance answers an edge's ping: <p>.$edge.<edge>.pong.<instance>.
func (p Prefix) Pong(edge, instance string) string {
	return p.EdgeAnnouncement(edge, wordPong) + "." + instance
}

// InstanceAnnouncement is where an instance announces itself: <p>.$svc.<group>.<instance>.<word>.
func (p Prefix) InstanceAnnouncement(group, instance, word string) string {
	return p.dotted + internalService + "." + group + "." + instance + "." + word
}

// appendVerb appends <p>.<ns>.<verb> and a dot.
func (p Prefix) appendVerb(dst []byte, ns, verb string) []byte {
	dst = append(dst, p.dotted...)
	dst = append(dst, ns...)
	dst = append(dst, '.')
	dst = append(dst, verb...)
	return append(dst, '.')
}

// What edges subscribe to. None of these matches the subject of a client's event: the fourth token of
// <p>.<ns>.on.<event> is never all, room or socket.

// Sockets matches every command for a socket of the edge.
func (p Prefix) Sockets(edge string) string {
	return p.dotted + "*.*." + wordSocket + "." + edge + ".*"
}

// Acks matches every return address of the edge's sockets.
func (p Prefix) Acks(edge string) string { return p.dotted + "*." + VerbAck + "." + edge + ".*.*" }

// NamespaceAll matches every command for all sockets of a namespace.
func (p Prefix) NamespaceAll(ns string) string { return p.dotted + ns + ".*." + wordAll }

// RoomInterest matches every command for one room.
func (p Prefix) RoomInterest(ns, room string) string {
	return p.dotted + ns + ".*." + wordRoom + "." + room
}

// EveryEdge matches the announcements of all edges.
func (p Prefix) EveryEdge() string { return p.dotted + internalEdge + ".*.*" }

// EveryInstance matches what all instances of all services announce with one word. (Not with any word: who subscribed
// pings, too, would keep NATS from telling that nobody is there.)
func (p Prefix) EveryInstance(word string) string { return p.dotted + internalService + ".*.*." + word }

// Pongs matches the answers to an edge's pings.
func (p Prefix) Pongs(edge string) string { return p.EdgeAnnouncement(edge, wordPong) + ".*" }

// EveryAll matches one command for all sockets of a namespace, in every namespace.
func (p Prefix) EveryAll(verb string) string { return p.dotted + "*." + verb + "." + wordAll }

// EveryRoom matches one command for a room, in every room and namespace.
func (p Prefix) EveryRoom(verb string) string { return p.dotted + "*." + verb + "." + wordRoom + ".>" }
