package subjects

import (
	"slices"
	"strings"
	"testing"
)

const testHash = "Ab-_Ab-_Ab-_Ab-_Ab-_A9"

func TestRecoveryBuilders(t *testing.T) {
	for want, got := range map[string][]byte{
		"sio.chat.emit.mark." + testEdge + ".17":       sio.AppendMark(nil, "chat", testEdge, 17),
		"sio.*.log.mark." + testEdge + ".*":            []byte(sio.Marks(testEdge)),
		"sio.chat.log.all sio.chat.broadcast.all":      []byte(strings.Join(sio.LoggedAll("chat"), " ")),
		"sio.c.log.room.a.b sio.c.broadcast.room.a.b":  []byte(strings.Join(sio.LoggedRoom("c", "a.b"), " ")),
		"sio.chat.emit.>":                              []byte(sio.Captured("chat")),
		"sio.*.emit.>":                                 []byte(sio.Captured("*")),
		"sio.chat.*.socket." + testSocket:              []byte(sio.SocketByName("chat", testSocket)),
		"sio.chat.ack." + testSocket + ".*":            []byte(sio.AcksByName("chat", testSocket)),
		"sio.$edge." + testEdge + ".yield." + testHash: []byte(sio.Yield(testEdge, testHash)),
		"sio.$edge." + testEdge + ".yield.*":           []byte(sio.Yields(testEdge)),
		"sio.$session." + testHash:                     []byte(sio.Session(testHash)),
		"sio.$session.beat." + testEdge:                []byte(sio.SessionBeat(testEdge)),
		"SIO_LOG":                                      []byte(sio.Stream(StreamLog)),
		"PROD-EU-SIO_SESSIONS":                         []byte(mustPrefix("prod.eu.sio").Stream(StreamSessions)),
	} {
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Each subscription of a logged namespace gets what it is for, and no message matches two.
func TestLoggedSubscriptions(t *testing.T) {
	logged := map[string][]byte{
		sio.LoggedAll("chat")[0]:             sio.AppendAll(nil, "chat", VerbLog),
		sio.LoggedAll("chat")[1]:             sio.AppendAll(nil, "chat", VerbBroadcast),
		sio.LoggedRoom("chat", "a.b")[0]:     sio.AppendToRoom(nil, "chat", VerbLog, "a.b"),
		sio.LoggedRoom("chat", "a.b")[1]:     sio.AppendToRoom(nil, "chat", VerbBroadcast, "a.b"),
		sio.Marks(testEdge):                  []byte("sio.chat.log.mark." + testEdge + ".1"),
		sio.SocketByName("chat", testSocket): sio.AppendToSocket(nil, "chat", VerbEmit, testSocket),
		sio.AcksByName("chat", testSocket):   sio.AppendAck(nil, "chat", testSocket, 3),
		sio.Yields(testEdge):                 []byte(sio.Yield(testEdge, testHash)),
		mustPrefix("a.b").LoggedAll("_")[0]:  mustPrefix("a.b").AppendAll(nil, "_", VerbLog),
	}
	for pattern, subject := range logged {
		for other := range logged { // each matches its own and no other: an edge subscribes several of them
			if got := matches(other, string(subject)); got != (other == pattern) {
				t.Errorf("%q matches %q: %v", subject, other, got)
			}
		}
	}
	if mark := sio.AppendMark(nil, "chat", testEdge, 1); !matches(sio.Captured("chat"), string(mark)) {
		t.Errorf("the log does not store %s", mark)
	}
	if matches(sio.EveryEdge(), sio.Yield(testEdge, testHash)) {
		t.Error("all edges receive what one is asked: NATS could not say that it has gone")
	}
}

// Edges need permission for whatever they subscribe and publish about the log.
func TestLogPermissions(t *testing.T) {
	p := mustPrefix("prod.sio")
	publish, subscribe := p.EdgePermissions(false, false)
	logPublish, logSubscribe := p.LogPermissions()
	publish, subscribe = append(publish, logPublish...), append(subscribe, logSubscribe...)
	for subject, among := range map[string][]string{
		string(p.AppendMark(nil, "chat", testEdge, 1)): publish, p.Yield(testEdge, testHash): publish,
		p.Session(testHash): publish, p.SessionBeat(testEdge): publish, "$JS.API.STREAM.MSG.GET.PROD-SIO_SESSIONS": publish,
		"prod.sio.chat.log.mark." + testEdge + ".1":         subscribe,
		string(p.AppendAll(nil, "chat", VerbLog)):           subscribe,
		string(p.AppendToRoom(nil, "chat", VerbLog, "x.y")): subscribe,
	} {
		if !slices.ContainsFunc(among, func(pattern string) bool { return matches(pattern, subject) }) {
			t.Errorf("%s is not in %q", subject, among)
		}
	}
	for _, pattern := range publish {
		if matches(pattern, "prod.sio.chat.log.all") {
			t.Errorf("an edge may publish %s: only NATS does", pattern)
		}
	}
}
