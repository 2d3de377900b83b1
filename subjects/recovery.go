package subjects

import "strings"

// This file has the subjects of namespaces whose events are logged, and of sessions that can be recovered.

// LoggedAll returns what an edge subscribes, in place of NamespaceAll, for all sockets of a namespace whose events are
// logged: what the log gives out, and broadcasts, which are not logged. No message matches both.
func (p Prefix) LoggedAll(ns string) []string {
	return []string{p.dotted + ns + "." + VerbLog + "." + wordAll, p.dotted + ns + "." + VerbBroadcast + "." + wordAll}
}

// LoggedRoom is LoggedAll for one room, in place of RoomInterest.
func (p Prefix) LoggedRoom(ns, room string) []string {
	return []string{
		p.dotted + ns + "." + VerbLog + "." + wordRoom + "." + room,
		p.dotted + ns + "." + VerbBroadcast + "." + wordRoom + "." + room,
	}
}

// Captured matches every message that the log of a namespace stores.
func (p Prefix) Captured(ns string) string { return p.dotted + ns + "." + VerbEmit + ".>" }

// Marks matches the marks of an edge as logs give them out, in every namespace.
func (p Prefix) Marks(edge string) string {
	return p.dotted + "*." + VerbLog + "." + wordMark + "." + edge + ".*"
}

// SocketByName matches every command for one socket, whose id may name another edge: a recovered one keeps its id.
func (p Prefix) SocketByName(ns, socketID string) string {
	return p.dotted + ns + ".*." + wordSocket + "." + socketID
}

// AcksByName matches every return address of one socket.
func (p Prefix) AcksByName(ns, socketID string) string {
	return p.dotted + ns + "." + VerbAck + "." + socketID + ".*"
}

// Yield is the subject of a request to an edge to give up a socket whose client came back elsewhere:
// <p>.$edge.<edge>.yield.<hash>.
func (p Prefix) Yield(edge, hash string) string {
	return p.EdgeAnnouncement(edge, wordYield) + "." + hash
}

// Yields matches the requests of Yield to an edge.
func (p Prefix) Yields(edge string) string { return p.Yield(edge, "*") }

// Session is the subject of the record of a session: <p>.$session.<hash>. "*" matches all of them.
func (p Prefix) Session(hash string) string { return p.dotted + internalSession + "." + hash }

// SessionBeat is the subject on which an edge that holds records says that it lives: <p>.$session.beat.<edge>.
func (p Prefix) SessionBeat(edge string) string { return p.Session(sessionBeat) + "." + edge }

// Stream is the name of a JetStream stream of the installation: the prefix in capitals, with "-" for dots and slashes,
// "_" and the word. Two prefixes that differ in nothing else have the same stream.
func (p Prefix) Stream(word string) string {
	return strings.ToUpper(streamLetters.Replace(p.String())) + "_" + word
}

// streamLetters replaces what JetStream refuses in a name.
var streamLetters = strings.NewReplacer(".", "-", "/", "-", `\`, "-")

// The words of Stream.
const (
	StreamLog      = "LOG"      // what was emitted in logged namespaces
	StreamSessions = "SESSIONS" // records of sessions
)

// LogPermissions returns the subjects for which an edge with a logged namespace needs permission in addition to
// EdgePermissions.
func (p Prefix) LogPermissions() (publish, subscribe []string) {
	const api = "$JS.API."
	publish = []string{p.Session(">"), api + "STREAM.NAMES"}
	for _, word := range []string{StreamLog, StreamSessions} {
		for _, request := range []string{"STREAM.INFO.", "STREAM.CREATE.", "STREAM.UPDATE.", "STREAM.MSG.GET."} {
			publish = append(publish, api+request+p.Stream(word))
		}
	}
	return append(publish, api+"DIRECT.GET."+p.Stream(StreamLog)), []string{p.Marks("*"), p.Elections(), EdgeInbox + ">"} // its own inbox: it must not read answers to services
}

// Elections is where JetStream says that the log has another leader.
func (p Prefix) Elections() string {
	return "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + p.Stream(StreamLog)
}
