// Package subjects is the grammar of Partyline's NATS subjects: the public contract between edges and whatever
// publishes to them or subscribes, in any language (docs/subjects.md).
//
//	<prefix>.<ns>.on.<event>                     a client emitted <event>
//	<prefix>.<ns>.<verb>.all                     a command for every socket of a namespace
//	<prefix>.<ns>.<verb>.room.<room>             … for the members of a room
//	<prefix>.<ns>.<verb>.socket.<edge>.<id>      … for one socket
//	<prefix>.<ns>.ack.<edge>.<id>.<n>            the return address of an event or a connect request
//	<prefix>.$….                                 edges and service instances among themselves
//
// On the way up a name becomes the tail of a subject (AppendEvent, AppendRoom, AppendNamespace) and a builder of Prefix
// puts the subject together; on the way down Prefix.Parse takes a subject apart into substrings, and Event, Room and
// Namespace give the names back. Names and tails are one to one: each name has one spelling, and other spellings are
// refused. testdata/names.json holds the cases of the spelling, for the tests of every language.
//
// The package is pure: it keeps no state, and whatever it returns belongs to the caller.
package subjects

import "strings"

// The verbs that edges know. The list is open: Parse accepts any other token in their place, and whoever acts on a
// subject ignores verbs that it does not know.
const (
	VerbOn         = "on"         // a client emitted an event: edge to services
	VerbEmit       = "emit"       // an event for every socket of the target
	VerbBroadcast  = "broadcast"  // the same, except the socket that the reply subject names
	VerbAsk        = "ask"        // an event whose acks the sender wants
	VerbJoin       = "join"       // put the sockets of the target into rooms
	VerbLeave      = "leave"      // take them out
	VerbDisconnect = "disconnect" // end the sockets of the target
	VerbFetch      = "fetch"      // tell about the sockets of the target
	VerbAck        = "ack"        // a return address
)

// The words of a target, which is why no event's first token is spelled like one of them.
const (
	wordAll    = "all"
	wordRoom   = "room"
	wordSocket = "socket"
)

// AckConnect stands in place of the ack number in the return address of a connect request.
const AckConnect = "connect"

// MaxAckNumber is the largest ack id of a client that a subject carries: the largest integer that JavaScript counts
// exactly.
const MaxAckNumber = 1<<53 - 1

// Kind says which form a subject has. The zero Kind is none of them.
type Kind uint8

const (
	KindOn       Kind = iota + 1 // <ns>.on.<event>: Event is set
	KindAck                      // <ns>.ack.<edge>.<id>.<n>: Socket, Edge and Ack are set
	KindCommand                  // <ns>.<verb>.<target>: Target is set, and Room, or Socket and Edge
	KindInternal                 // $….: only Namespace is set, to the token with its $
)

// Target says whom a command is for. The zero Target stands in subjects that have none.
type Target uint8

const (
	TargetAll    Target = iota + 1 // every socket of the namespace
	TargetRoom                     // the members of Room
	TargetSocket                   // Socket alone
)

// Subject is a subject taken apart by Prefix.Parse. All strings are substrings of it, still in their escaped spelling;
// a tail in another spelling than the one of AppendEvent or AppendRoom passes and is the name of nothing.
type Subject struct {
	Kind      Kind
	Target    Target
	Namespace string // the escaped token: "_" for the namespace "/"
	Verb      string // empty with KindInternal
	Room      string // the escaped tail
	Socket    string // the whole id, "<edge>.<own>"
	Edge      string // the edge's part of Socket
	Event     string // the escaped tail
	Ack       string // the ack number (see AckNumber) or AckConnect
}

// Parse takes a subject under the prefix apart. It returns false for every subject that has none of the forms of this
// package: outside the prefix; with too few tokens, an empty one, a wildcard, or a byte that no subject holds; with a
// socket that has no socket id's form, more tokens behind all, or an ack number that is not canonical (see AckNumber);
// and an event whose first token is all, room or socket, since no event is spelled so. It does not allocate.
func (p Prefix) Parse(subject string) (Subject, bool) {
	if !p.Covers(subject) || !isLiteral(subject) {
		return Subject{}, false
	}
	namespace, rest, more := strings.Cut(subject[len(p.dotted):], ".")
	if !more {
		return Subject{}, false
	}
	if namespace[0] == '$' {
		return Subject{Kind: KindInternal, Namespace: namespace}, true
	}
	verb, tail, more := strings.Cut(rest, ".")
	if !more {
		return Subject{}, false
	}
	s := Subject{Namespace: namespace, Verb: verb}
	var ok bool
	switch verb {
	case VerbOn:
		s.Kind, s.Event = KindOn, tail
		ok = targetWord(tail) == ""
	case VerbAck:
		ok = s.parseAck(tail)
	default:
		ok = s.parseTarget(tail)
	}
	if !ok {
		return Subject{}, false
	}
	return s, true
}

// parseAck fills in <edge>.<id>.<n>.
func (s *Subject) parseAck(tail string) bool {
	if len(tail) < socketIDBytes+2 || tail[socketIDBytes] != '.' {
		return false
	}
	edge, _, ok := SplitSocketID(tail[:socketIDBytes])
	if !ok {
		return false
	}
	s.Kind, s.Socket, s.Edge, s.Ack = KindAck, tail[:socketIDBytes], edge, tail[socketIDBytes+1:]
	if s.Ack == AckConnect {
		return true
	}
	_, ok = AckNumber(s.Ack)
	return ok
}

// parseTarget fills in all, room.<room> or socket.<edge>.<id>.
func (s *Subject) parseTarget(tail string) bool {
	s.Kind = KindCommand
	word, rest, more := strings.Cut(tail, ".")
	switch word {
	case wordAll:
		s.Target = TargetAll
		return !more
	case wordRoom:
		s.Target, s.Room = TargetRoom, rest
		return more
	case wordSocket:
		edge, _, ok := SplitSocketID(rest)
		s.Target, s.Socket, s.Edge = TargetSocket, rest, edge
		return ok
	default:
		return false
	}
}

// isLiteral tells whether s is tokens between single dots, none with a byte that the spelling of names escapes for
// NATS's sake. A server passes on wildcards and odd bytes in a published subject, so they do arrive.
func isLiteral(s string) bool {
	behindDot := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if behindDot {
				return false
			}
			behindDot = true
		case c <= ' ' || c == 0x7F || c == '*' || c == '>':
			return false
		default:
			behindDot = false
		}
	}
	return !behindDot
}

// AckNumber reads the ack number of a return address: decimal without sign or leading zeros, at most MaxAckNumber.
func AckNumber(s string) (uint64, bool) {
	if s == "" || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > MaxAckNumber {
			return 0, false
		}
	}
	return n, true
}
