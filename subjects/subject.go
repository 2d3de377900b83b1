// Package subjects is the grammar of Partyline's NATS subjects: the public contract between edges and whatever
// publishes to them or subscribes, in any language (docs/subjects.md).
//
//	<prefix>.<ns>.on.<event>                     a client emitted <event>
//	<prefix>.<ns>.<verb>.all                     a command for every socket of a namespace
//	<prefix>.<ns>.<verb>.room.<room>             … for the members of a room
//	<prefix>.<ns>.<verb>.socket.<edge>.<id>      … for one socket
//	<prefix>.<ns>.ack.<edge>.<id>.<n>            the return address of an event or a connect request
//	<prefix>.<ns>.own.<owner>.<event>            a client emitted <event>, and an instance or a group gets the socket's events
//	<prefix>.<ns>.service.<event>                an event of a service for services
//	<prefix>.<ns>.log.<target>                   the copy of an emit that the log of the namespace gives a sequence
//	<prefix>.<ns>.member.room.<room>             the members of a room have changed on an edge
//	<prefix>.<ns>.emit.mark.<edge>.<n>           an edge marks a place in the log
//	<prefix>.$edge.<edge>.<word>                 an edge announces itself
//	<prefix>.$edge.<edge>.yield.<hash>           an edge is asked to give up a socket whose client came back elsewhere
//	<prefix>.$edge.<edge>.pong.<instance>        where an instance answers an edge's ping
//	<prefix>.$svc.<group>.<instance>.<word>      a service instance announces itself
//	<prefix>.$session.<hash>                     the record of a session
//
// On the way up a name becomes the tail of a subject (AppendEvent, AppendRoom, AppendNamespace) and a builder of
// Prefix makes the subject; on the way down Prefix.Parse splits a subject into substrings, and Event, Room and
// Namespace return the names. Names and tails are one to one: each name has one spelling, and other spellings are
// refused. testdata/names.json has the cases of the spelling, for tests in every language.
//
// The package is pure: it keeps no state, and its results belong to the caller.
package subjects

import "strings"

// The verbs of this version. Parse accepts any other token in their place; edges and services ignore verbs that they
// do not know.
const (
	VerbOn         = "on"         // a client emitted an event: edge to services
	VerbEmit       = "emit"       // an event for every socket of the target
	VerbBroadcast  = "broadcast"  // the same, except the socket that the reply subject names
	VerbAsk        = "ask"        // an event whose acks the sender wants
	VerbJoin       = "join"       // put the sockets of the target into rooms
	VerbLeave      = "leave"      // take them out
	VerbDisconnect = "disconnect" // end the sockets of the target
	VerbGrant      = "grant"      // change what the sockets of the target are and may do
	VerbFetch      = "fetch"      // tell about the sockets of the target
	VerbData       = "data"       // get or set the data of the sockets of the target
	VerbRooms      = "rooms"      // list the rooms that the sockets of the target are in
	VerbPause      = "pause"      // hold the events of a socket's session, for one instance of a service
	VerbResume     = "resume"     // end that instance's pause
	VerbAck        = "ack"        // a return address
	VerbOwn        = "own"        // an event of a socket that has an owner, or a group: edge to that service
	VerbService    = "service"    // an event of a service for services
	VerbLog        = "log"        // an event that was emitted, as the log of its namespace gives it out
	VerbMember     = "member"     // sockets have entered or left a room: edge to edges and services
)

// The words of announcements. Edges and instances publish the first three.
const (
	WordHello   = "hello"   // it is there
	WordBeat    = "beat"    // it is still there, every second
	WordBye     = "bye"     // it has ended
	WordGone    = "gone"    // published by another edge: this one has died
	WordLeaving = "leaving" // an instance: edges must send it nothing more
	WordLeft    = "left"    // an instance: it has handled everything that was sent to it
	WordPing    = "ping"    // an edge asks an instance whether it lives
)

// The words of a target. No event's first token is spelled like one of them.
const (
	wordAll    = "all"
	wordRoom   = "room"
	wordSocket = "socket"
)

// wordMark stands where a target would: the message has no receivers. It is not reserved for events or rooms.
const wordMark = "mark"

// The first tokens of messages among edges and instances, the words of a ping's return address and of a request for a
// socket, and the word for beats of edges that hold records: no hash.
const (
	internalEdge    = "$edge"
	internalService = "$svc"
	internalSession = "$session"
	wordPong        = "pong"
	wordYield       = "yield"
	sessionBeat     = "beat"
)

// AckConnect takes the place of the ack number in the return address of a connect request.
const AckConnect = "connect"

// maxAckNumber is the largest ack id of a client that a subject carries: the largest integer that JavaScript counts
// exactly.
const maxAckNumber = 1<<53 - 1

// Kind is the form of a subject. The zero Kind is $…. in a form that this version does not know: only Namespace is
// set, to the token with its $.
type Kind uint8

const (
	KindOn       Kind = iota + 1 // <ns>.on.<event>: Event is set
	KindAck                      // <ns>.ack.<edge>.<id>.<n>: Socket, Edge and Ack are set
	KindCommand                  // <ns>.<verb>.<target>: Target is set, and Room, or Socket and Edge
	KindOwn                      // <ns>.own.<owner>.<event>: Owner and Event are set
	KindService                  // <ns>.service.<event>: Event is set
	KindEdge                     // $edge.<edge>.<word>: Edge and Word are set
	KindPong                     // $edge.<edge>.pong.<instance>: Edge and Instance are set
	KindInstance                 // $svc.<group>.<instance>.<word>: Group, Instance and Word are set
	KindMark                     // <ns>.<emit or log>.mark.<edge>.<n>: Edge and Mark are set
	KindYield                    // $edge.<edge>.yield.<hash>: Edge and Hash are set
)

// Target is the receivers of a command. Subjects that are no commands have the zero Target.
type Target uint8

const (
	TargetAll    Target = iota + 1 // every socket of the namespace
	TargetRoom                     // the members of Room
	TargetSocket                   // Socket alone
)

// Subject is a subject split by Prefix.Parse. All strings are substrings of it, still escaped. Parse does not check
// the spelling of tails: one that AppendEvent or AppendRoom does not make is the name of no event or room.
type Subject struct {
	Kind      Kind
	Target    Target
	Namespace string // the escaped token: "_" for the namespace "/"
	Verb      string // empty where Namespace begins with $
	Room      string // the escaped tail
	Socket    string // the whole id, "<edge>.<own>"
	Edge      string // the edge's part of Socket
	Event     string // the escaped tail
	Ack       string // the ack number (see AckNumber) or AckConnect
	Owner     string // the group or the instance that gets a socket's events
	Group     string // the group of an instance
	Instance  string // a running copy of a service
	Word      string // one of the Word… constants, or one of a later version
	Mark      string // the number of a mark, spelled as AckNumber demands
	Hash      string // stands for a session: 22 characters base64url
}

// Parse splits a subject under the prefix. It returns false for a subject outside the prefix; with too few tokens, an
// empty one, a wildcard, or a byte that no subject may have; with an invalid socket id, more tokens behind all, or a
// number of an ack or a mark that is not canonical (see AckNumber); and for an event whose first token is all, room or
// socket. It does not allocate.
func (p Prefix) Parse(subject string) (Subject, bool) {
	if !p.Covers(subject) || !isLiteral(subject) {
		return Subject{}, false
	}
	namespace, rest, more := strings.Cut(subject[len(p.dotted):], ".")
	if !more {
		return Subject{}, false
	}
	if namespace[0] == '$' {
		return parseInternal(namespace, rest), true
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
	case VerbOwn:
		s.Kind = KindOwn
		s.Owner, s.Event, ok = strings.Cut(tail, ".")
		ok = ok && IsToken(s.Owner) && targetWord(s.Event) == ""
	case VerbService:
		s.Kind, s.Event = KindService, tail
		ok = targetWord(tail) == ""
	default:
		ok = s.parseTarget(tail)
	}
	if !ok {
		return Subject{}, false
	}
	return s, true
}

// parseInternal parses what follows $edge or $svc.
func parseInternal(namespace, rest string) Subject {
	s := Subject{Namespace: namespace}
	first, rest, _ := strings.Cut(rest, ".")
	second, third, _ := strings.Cut(rest, ".")
	switch {
	case namespace == internalEdge && isEdgeID(first) && second != "" && third == "":
		s.Kind, s.Edge, s.Word = KindEdge, first, second
	case namespace == internalEdge && isEdgeID(first) && second == wordPong && IsToken(third):
		s.Kind, s.Edge, s.Instance = KindPong, first, third
	case namespace == internalEdge && isEdgeID(first) && second == wordYield && isHash(third):
		s.Kind, s.Edge, s.Hash = KindYield, first, third
	case namespace == internalService && IsToken(first) && IsToken(second) && third != "" && !strings.Contains(third, "."):
		s.Kind, s.Group, s.Instance, s.Word = KindInstance, first, second, third
	}
	return s
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

// parseTarget fills in all, room.<room>, socket.<edge>.<id> or mark.<edge>.<n>.
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
	case wordMark:
		s.Kind = KindMark
		s.Edge, s.Mark, _ = strings.Cut(rest, ".")
		_, ok := AckNumber(s.Mark)
		return ok && isEdgeID(s.Edge) && (s.Verb == VerbEmit || s.Verb == VerbLog)
	default:
		return false
	}
}

// isLiteral reports whether s is tokens between single dots, without the bytes that names escape because of NATS's
// protocol. A server passes on wildcards and such bytes in a published subject, so they do arrive.
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

// AckNumber returns the ack number of a return address: decimal without sign or leading zeros, at most maxAckNumber.
func AckNumber(s string) (n uint64, ok bool) {
	if s == "" || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		if n = n*10 + uint64(s[i]-'0'); n > maxAckNumber {
			return 0, false
		}
	}
	return n, true
}
