package subjects

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxPrefixBytes bounds a prefix, which is part of every subject and every reply subject.
const maxPrefixBytes = 128

var errPrefix = errors.New("bad prefix")

// Prefix begins all subjects of one installation; it is "sio" unless configured otherwise. NewPrefix makes it; NATS
// refuses the subjects of the zero Prefix. It can be copied and compared.
//
// The Append methods append a whole subject to dst and return the extended slice. They check nothing: ns is a token of
// AppendNamespace, event and room are tails of AppendEvent and AppendRoom, verb is one token and socketID passes
// IsSocketID.
type Prefix struct {
	dotted string // ends with a dot
}

// NewPrefix checks a prefix: one or more tokens between dots, in valid UTF-8, at most maxPrefixBytes bytes, without
// wildcards, white space and control characters, not beginning with "$" (which NATS keeps for itself). The error says
// what is wrong.
func NewPrefix(s string) (Prefix, error) {
	fault := badTokens(s)
	if fault == "" && strings.HasPrefix(s+".", "_INBOX.") {
		fault = "subjects that begin with _INBOX are for replies"
	}
	if fault != "" {
		return Prefix{}, fmt.Errorf("%w %.160q: %s", errPrefix, s, fault)
	}
	return Prefix{s + "."}, nil
}

// badTokens returns what is wrong with the first tokens of subjects, or "".
func badTokens(s string) (fault string) {
	switch {
	case s == "":
		return "it is empty"
	case len(s) > maxPrefixBytes:
		return "it is longer than " + strconv.Itoa(maxPrefixBytes) + " bytes"
	case !utf8.ValidString(s):
		return "it is not valid UTF-8"
	case s[0] == '$':
		return "subjects that begin with $ belong to NATS"
	case !isLiteral(s):
		return "it must be tokens between single dots, without spaces, control characters, * and >"
	}
	return ""
}

// String returns the prefix as it was given to NewPrefix.
func (p Prefix) String() string { return strings.TrimSuffix(p.dotted, ".") }

// Covers reports whether subject begins with the prefix, whatever follows.
func (p Prefix) Covers(subject string) bool {
	return len(subject) > len(p.dotted) && strings.HasPrefix(subject, p.dotted)
}

// AppendOn appends the subject of a client's event: <p>.<ns>.on.<event>.
func (p Prefix) AppendOn(dst []byte, ns, event string) []byte {
	return p.append(dst, ns, VerbOn, event)
}

// AppendAll appends a command for every socket of a namespace: <p>.<ns>.<verb>.all.
func (p Prefix) AppendAll(dst []byte, ns, verb string) []byte {
	return p.append(dst, ns, verb, wordAll)
}

// AppendToRoom appends a command for the members of a room: <p>.<ns>.<verb>.room.<room>.
func (p Prefix) AppendToRoom(dst []byte, ns, verb, room string) []byte {
	return p.append(dst, ns, verb, wordRoom, room)
}

// AppendToSocket appends a command for one socket: <p>.<ns>.<verb>.socket.<edge>.<id>. With VerbEmit it is the
// socket's address.
func (p Prefix) AppendToSocket(dst []byte, ns, verb, socketID string) []byte {
	return p.append(dst, ns, verb, wordSocket, socketID)
}

// AppendAck appends the return address of an event that wants an ack: <p>.<ns>.ack.<edge>.<id>.<n>. Parse refuses the
// subject if n is above the largest integer that JavaScript counts exactly.
func (p Prefix) AppendAck(dst []byte, ns, socketID string, n uint64) []byte {
	return strconv.AppendUint(p.append(dst, ns, VerbAck, socketID, ""), n, 10)
}

// AppendConnectReply appends the return address of a connect request: <p>.<ns>.ack.<edge>.<id>.connect.
func (p Prefix) AppendConnectReply(dst []byte, ns, socketID string) []byte {
	return p.append(dst, ns, VerbAck, socketID, AckConnect)
}

// AppendOwn appends the subject of an event of an owned socket: <p>.<ns>.own.<owner>.<event>. Without an owner it is that
// of AppendOn.
func (p Prefix) AppendOwn(dst []byte, ns, owner, event string) []byte {
	if owner == "" {
		return p.AppendOn(dst, ns, event)
	}
	return p.append(dst, ns, VerbOwn, owner, event)
}

// AppendService appends the subject of an event of a service for services: <p>.<ns>.service.<event>.
func (p Prefix) AppendService(dst []byte, ns, event string) []byte {
	return p.append(dst, ns, VerbService, event)
}

// AppendMark appends the subject with which an edge marks a place in the log of a namespace:
// <p>.<ns>.emit.mark.<edge>.<n>. The log gives it out as <p>.<ns>.log.mark.<edge>.<n>. The limit of n is that of
// AppendAck.
func (p Prefix) AppendMark(dst []byte, ns, edge string, n uint64) []byte {
	return strconv.AppendUint(p.append(dst, ns, VerbEmit, wordMark, edge, ""), n, 10)
}

// append appends the prefix and tokens, with dots between them.
func (p Prefix) append(dst []byte, tokens ...string) []byte {
	dst = append(dst, p.dotted...)
	for i, token := range tokens {
		if i > 0 {
			dst = append(dst, '.')
		}
		dst = append(dst, token...)
	}
	return dst
}

// EdgeAnnouncement is the subject on which an edge announces itself: <p>.$edge.<edge>.<word>.
func (p Prefix) EdgeAnnouncement(edge, word string) string {
	return p.dotted + internalEdge + "." + edge + "." + word
}

// Pong is the subject on which an instance answers an edge's ping: <p>.$edge.<edge>.pong.<instance>.
func (p Prefix) Pong(edge, instance string) string {
	return p.EdgeAnnouncement(edge, wordPong) + "." + instance
}

// InstanceAnnouncement is the subject on which an instance announces itself: <p>.$svc.<group>.<instance>.<word>.
func (p Prefix) InstanceAnnouncement(group, instance, word string) string {
	return p.dotted + internalService + "." + group + "." + instance + "." + word
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

// everyEdge are the verbs that concern every edge, also one without a socket in the namespace or room: each answers.
var everyEdge = []string{VerbJoin, VerbLeave, VerbDisconnect, VerbGrant, VerbAsk, VerbFetch, VerbData, VerbRooms}

// IsForEveryEdge reports whether a command to all or a room is for every edge.
func IsForEveryEdge(verb string) bool { return slices.Contains(everyEdge, verb) }

// IsCopy reports whether a message is a command to all or a room that came by a subscription for events: it comes by
// that for commands, too, and counts there. Subscriptions for events name a namespace (sio.chat.*.room.x), those for
// commands have a wildcard in its place (sio.*.join.room.>). To leave commands out of what is subscribed for events
// would take two subscriptions a room.
func IsCopy(p Prefix, s *Subject, subscription string) bool {
	namespace := len(p.dotted)
	return s.Target != TargetSocket && IsForEveryEdge(s.Verb) && len(subscription) > namespace && subscription[namespace] != '*'
}

// EdgeSubscriptions lists what an edge subscribes from its start: in addition with a logged namespace, and with one
// whose rooms show who is in them.
func (p Prefix) EdgeSubscriptions(edge string, isLogged, showsPresence bool) []string {
	all := []string{p.Sockets(edge), p.Acks(edge), p.Pongs(edge)}
	for _, word := range []string{WordHello, WordBeat, WordLeaving, WordLeft, WordBye} {
		all = append(all, p.EveryInstance(word))
	}
	for _, verb := range everyEdge {
		all = append(all, p.EveryAll(verb), p.EveryRoom(verb))
	}
	if isLogged {
		all = append(all, p.Marks(edge), p.Yields(edge), p.Elections())
	}
	if showsPresence {
		all = append(all, MemberAnswers(edge)+"*")
	}
	return all
}

// MemberInterest matches what edges publish about the members of a room. Of a namespace whose events are not logged it
// is RoomInterest: a message must not match two subscriptions.
func (p Prefix) MemberInterest(ns, room string, isLogged bool) string {
	if isLogged {
		return string(p.AppendToRoom(nil, ns, VerbMember, room))
	}
	return p.RoomInterest(ns, room)
}

// MemberAnswers begins the reply subjects of an edge's questions about rooms' members.
func MemberAnswers(edge string) string { return EdgeInbox + "presence." + edge + "." }

// EdgeInbox begins the reply subjects of edges.
const EdgeInbox = "_INBOX.edge."

// EveryEdge matches the announcements of all edges.
func (p Prefix) EveryEdge() string { return p.dotted + internalEdge + ".*.*" }

// EveryInstance matches what all instances of all services announce with one word. It does not match every word: an
// edge that subscribed to pings would keep NATS from reporting that an instance has no subscription to them.
func (p Prefix) EveryInstance(word string) string { return p.dotted + internalService + ".*.*." + word }

// Pongs matches the answers to an edge's pings.
func (p Prefix) Pongs(edge string) string { return p.EdgeAnnouncement(edge, wordPong) + ".*" }

// EveryAll matches one command for all sockets of a namespace, in every namespace.
func (p Prefix) EveryAll(verb string) string { return p.dotted + "*." + verb + "." + wordAll }

// EveryRoom matches one command for a room, in every room and namespace.
func (p Prefix) EveryRoom(verb string) string { return p.dotted + "*." + verb + "." + wordRoom + ".>" }

// Ready is the event with which an edge finds out whether NATS permits it to publish the events of a namespace:
// <p>.<ns>.on.$ready. No event of a client has this subject: the same name is spelled %24ready.
const Ready = "$ready"

// EdgePermissions returns the subjects for which an edge needs permission, as the contract lists them
// (docs/subjects.md, Permissions): with a logged namespace those of LogPermissions, too, and more with one whose rooms
// show who is in them.
func (p Prefix) EdgePermissions(isLogged, showsPresence bool) (publish, subscribe []string) {
	if isLogged {
		publish, subscribe = p.LogPermissions()
	}
	if showsPresence {
		publish = append(publish, p.dotted+"*."+VerbMember+"."+wordRoom+".>", p.EveryRoom(VerbFetch))
		subscribe = append(subscribe, EdgeInbox+">")
	}
	for _, tail := range []string{
		"*." + VerbOn + ".>", "*." + VerbOwn + ".>", "*." + VerbEmit + ".>", "*." + VerbBroadcast + ".>",
		internalEdge + ".>", internalService + ".*.*." + WordPing,
	} {
		publish = append(publish, p.dotted+tail)
	}
	for _, tail := range []string{
		"*.*." + wordAll, "*.*." + wordRoom + ".>", "*.*." + wordSocket + ".*.*", "*." + VerbAck + ".*.*.*",
		internalEdge + ".>", internalService + ".>",
	} {
		subscribe = append(subscribe, p.dotted+tail)
	}
	return append(publish, "_INBOX.>"), append(subscribe, "$SRV.>")
}
