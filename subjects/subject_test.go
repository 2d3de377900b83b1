package subjects

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

const (
	testEdge   = "k3f9a0zz"
	testOwn    = "Ab-_Ab-_Ab-_Ab-_Ab-9"
	testSocket = testEdge + "." + testOwn
)

var sio = mustPrefix("sio")

func mustPrefix(s string) Prefix {
	p, err := NewPrefix(s)
	if err != nil {
		panic(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for subject, want := range map[string]Subject{
		"sio._.on.message":                       {Kind: KindOn, Namespace: "_", Verb: "on", Event: "message"},
		"sio.chat.on.order.123":                  {Kind: KindOn, Namespace: "chat", Verb: "on", Event: "order.123"},
		"sio.chat.on.%61ll":                      {Kind: KindOn, Namespace: "chat", Verb: "on", Event: "%61ll"},
		"sio.chat.on.roomy":                      {Kind: KindOn, Namespace: "chat", Verb: "on", Event: "roomy"},
		"sio.chat.on.%":                          {Kind: KindOn, Namespace: "chat", Verb: "on", Event: "%"},
		"sio.on.on.on":                           {Kind: KindOn, Namespace: "on", Verb: "on", Event: "on"},
		"sio.chat.emit.all":                      {Kind: KindCommand, Namespace: "chat", Verb: "emit", Target: TargetAll},
		"sio.chat.broadcast.all":                 {Kind: KindCommand, Namespace: "chat", Verb: "broadcast", Target: TargetAll},
		"sio.chat.later.all":                     {Kind: KindCommand, Namespace: "chat", Verb: "later", Target: TargetAll},
		"sio.chat.emit.room.all":                 {Kind: KindCommand, Namespace: "chat", Verb: "emit", Target: TargetRoom, Room: "all"},
		"sio.chat.join.room.a.b":                 {Kind: KindCommand, Namespace: "chat", Verb: "join", Target: TargetRoom, Room: "a.b"},
		"sio.채팅.emit.room.방.1":                   {Kind: KindCommand, Namespace: "채팅", Verb: "emit", Target: TargetRoom, Room: "방.1"},
		"sio.a%2Eb.fetch.room.%":                 {Kind: KindCommand, Namespace: "a%2Eb", Verb: "fetch", Target: TargetRoom, Room: "%"},
		"sio.$edge.x":                            {Namespace: "$edge"},
		"sio.$svc.a.b.c.d.e":                     {Namespace: "$svc"},
		"sio.$svc.a.b":                           {Namespace: "$svc"},
		"sio.$svc.all.b.beat":                    {Namespace: "$svc"},
		"sio.$edge.x.beat":                       {Namespace: "$edge"},
		"sio.$later.a":                           {Namespace: "$later"},
		"sio.$edge." + testEdge:                  {Namespace: "$edge"},
		"sio.$edge." + testEdge + ".beat":        {Kind: KindEdge, Namespace: "$edge", Edge: testEdge, Word: WordBeat},
		"sio.$edge." + testEdge + ".pong.chat-1": {Kind: KindPong, Namespace: "$edge", Edge: testEdge, Instance: "chat-1"},
		"sio.$edge." + testEdge + ".pong.a.b":    {Namespace: "$edge"},
		"sio.$svc.chat.chat-1.left":              {Kind: KindInstance, Namespace: "$svc", Group: "chat", Instance: "chat-1", Word: WordLeft},
		"sio.c.own.chat-1.order.7":               {Kind: KindOwn, Namespace: "c", Verb: "own", Owner: "chat-1", Event: "order.7"},
		"sio.c.own.chat.connect":                 {Kind: KindOwn, Namespace: "c", Verb: "own", Owner: "chat", Event: "connect"},
		"sio.c.service.order.7":                  {Kind: KindService, Namespace: "c", Verb: "service", Event: "order.7"},
		"sio.%24svc.emit.all":                    {Kind: KindCommand, Namespace: "%24svc", Verb: "emit", Target: TargetAll},
		"sio.c.pause.socket." + testSocket: {Kind: KindCommand, Namespace: "c", Verb: VerbPause, Target: TargetSocket,
			Socket: testSocket, Edge: testEdge},
		"sio.c.resume.socket." + testSocket: {Kind: KindCommand, Namespace: "c", Verb: VerbResume, Target: TargetSocket,
			Socket: testSocket, Edge: testEdge},
		"sio.c.ask.socket." + testSocket: {Kind: KindCommand, Namespace: "c", Verb: "ask", Target: TargetSocket,
			Socket: testSocket, Edge: testEdge},
		"sio.c.log.all":                                {Kind: KindCommand, Namespace: "c", Verb: VerbLog, Target: TargetAll},
		"sio.c.log.room.mark.x":                        {Kind: KindCommand, Namespace: "c", Verb: VerbLog, Target: TargetRoom, Room: "mark.x"},
		"sio.c.on.mark." + testEdge + ".1":             {Kind: KindOn, Namespace: "c", Verb: VerbOn, Event: "mark." + testEdge + ".1"},
		"sio.c.emit.mark." + testEdge + ".17":          {Kind: KindMark, Namespace: "c", Verb: VerbEmit, Edge: testEdge, Mark: "17"},
		"sio.c.log.mark." + testEdge + ".0":            {Kind: KindMark, Namespace: "c", Verb: VerbLog, Edge: testEdge, Mark: "0"},
		"sio.$edge." + testEdge + ".yield." + testHash: {Kind: KindYield, Namespace: "$edge", Edge: testEdge, Hash: testHash},
		"sio.$edge." + testEdge + ".yield.short":       {Namespace: "$edge"},
		"sio.$edge." + testEdge + ".yield":             {Kind: KindEdge, Namespace: "$edge", Edge: testEdge, Word: "yield"},
		"sio.$edge.x.yield." + testHash:                {Namespace: "$edge"},
		"sio.$session." + testHash + "." + testEdge:    {Namespace: "$session"},
		"sio.$session.beat." + testEdge:                {Namespace: "$session"},
		"sio.c.log.socket." + testSocket: {Kind: KindCommand, Namespace: "c", Verb: VerbLog, Target: TargetSocket,
			Socket: testSocket, Edge: testEdge},
		"sio.c.ack." + testSocket + ".0": {Kind: KindAck, Namespace: "c", Verb: "ack", Socket: testSocket,
			Edge: testEdge, Ack: "0"},
		"sio.c.ack." + testSocket + ".9007199254740991": {Kind: KindAck, Namespace: "c", Verb: "ack", Socket: testSocket,
			Edge: testEdge, Ack: "9007199254740991"},
		"sio.c.ack." + testSocket + ".connect": {Kind: KindAck, Namespace: "c", Verb: "ack", Socket: testSocket,
			Edge: testEdge, Ack: "connect"},
	} {
		if got, ok := sio.Parse(subject); !ok || got != want {
			t.Errorf("Parse(%q):\n got %+v, %v\nwant %+v", subject, got, ok, want)
		}
	}
	if s, ok := mustPrefix("prod.sio").Parse("prod.sio._.on.x"); !ok || s.Event != "x" {
		t.Errorf("prefix of two tokens: %+v, %v", s, ok)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, subject := range []string{
		"", ".", "sio", "sio.", "sio.chat", "sio.chat.on", "sio.chat.on.", "sio.chat.emit", "sio.$edge", "sio..on.x",
		"other.chat.on.x", "siox.chat.on.x", "SIO.chat.on.x", "sio.chat..x", "sio.chat.on.a..b", "sio.chat.on.a.",
		"sio.chat.on..a", "sio.chat.emit.room.", "sio.chat.emit.room.a.", "sio.$edge.", "sio.$edge..a",
		"sio.chat.on.*", "sio.chat.on.>", "sio.*.on.x", "sio.>", "sio.chat.emit.room.a b", "sio.chat.on.a\x00",
		"sio.chat.on.all", "sio.chat.on.room.x", "sio.chat.on.socket." + testSocket,
		"sio.chat.emit.all.x", "sio.chat.emit.room", "sio.chat.emit.socket", "sio.chat.emit.other", "sio.chat.emit.allx",
		"sio.chat.emit.socket.x", "sio.chat.emit.socket." + testEdge, "sio.chat.emit.socket." + testSocket + ".x",
		"sio.chat.emit.socket." + testSocket + "x", "sio.chat.emit.socket." + testSocket[1:],
		"sio.chat.emit.socket.K3f9a0zz." + testOwn,
		"sio.chat.ack.all", "sio.chat.ack.room.x", "sio.chat.ack.socket." + testSocket,
		"sio.chat.ack." + testSocket, "sio.chat.ack." + testSocket + ".", "sio.chat.ack." + testSocket + ".x",
		"sio.chat.ack." + testSocket + ".01", "sio.chat.ack." + testSocket + ".-1", "sio.chat.ack." + testSocket + ".+1",
		"sio.chat.ack." + testSocket + ".1.0", "sio.chat.ack." + testSocket + ".1e3",
		"sio.chat.ack." + testSocket + ".9007199254740992", "sio.chat.ack." + testSocket + ".99999999999999999999999",
		"sio.chat.ack." + testSocket + ".connect.x", "sio.chat.ack." + testSocket + ".Connect",
		"sio.chat.ack." + testSocket + "x.1",
		"sio.chat.emit.mark", "sio.chat.emit.mark." + testEdge, "sio.chat.emit.mark." + testEdge + ".x", "sio.chat.emit.mark.x.1",
		"sio.chat.emit.mark." + testEdge + ".01", "sio.chat.emit.mark." + testEdge + ".1.2", "sio.chat.join.mark." + testEdge + ".1",
		"sio.chat.broadcast.mark." + testEdge + ".1", "sio.chat.log.other", "sio.chat.log.all.x", "sio.chat.log.socket.x",
	} {
		if got, ok := sio.Parse(subject); ok || got != (Subject{}) {
			t.Errorf("Parse(%q) = %+v, %v", subject, got, ok)
		}
	}
}

func TestBuilders(t *testing.T) {
	for want, got := range map[string][]byte{
		"sio._.on.order.1":                             sio.AppendOn(nil, "_", "order.1"),
		"sio.chat.emit.all":                            sio.AppendAll(nil, "chat", VerbEmit),
		"sio.chat.broadcast.room.a.b":                  sio.AppendToRoom(nil, "chat", VerbBroadcast, "a.b"),
		"sio.chat.emit.socket." + testSocket:           sio.AppendToSocket(nil, "chat", VerbEmit, testSocket),
		"sio.chat.ack." + testSocket + ".17":           sio.AppendAck(nil, "chat", testSocket, 17),
		"sio.chat.ack." + testSocket + ".connect":      sio.AppendConnectReply(nil, "chat", testSocket),
		"sio.chat.own.chat-1.order.1":                  sio.AppendOwn(nil, "chat", "chat-1", "order.1"),
		"sio.chat.service.order.1":                     sio.AppendService(nil, "chat", "order.1"),
		"sio.$edge." + testEdge + ".hello":             []byte(sio.EdgeAnnouncement(testEdge, WordHello)),
		"sio.$edge." + testEdge + ".pong.chat-1":       []byte(sio.Pong(testEdge, "chat-1")),
		"sio.$edge." + testEdge + ".pong.*":            []byte(sio.Pongs(testEdge)),
		"sio.$svc.chat.chat-1.beat":                    []byte(sio.InstanceAnnouncement("chat", "chat-1", WordBeat)),
		"sio.$edge.*.*":                                []byte(sio.EveryEdge()),
		"sio.$svc.*.*.beat":                            []byte(sio.EveryInstance(WordBeat)),
		"x sio.chat.on.y":                              sio.AppendOn([]byte("x "), "chat", "y"),
		"sio.*.*.socket." + testEdge + ".*":            []byte(sio.Sockets(testEdge)),
		"sio.*.ack." + testEdge + ".*.*":               []byte(sio.Acks(testEdge)),
		"sio.chat.*.all":                               []byte(sio.NamespaceAll("chat")),
		"sio.chat.*.room.a.b":                          []byte(sio.RoomInterest("chat", "a.b")),
		"sio.*.join.all":                               []byte(sio.EveryAll(VerbJoin)),
		"sio.*.join.room.>":                            []byte(sio.EveryRoom(VerbJoin)),
		"prod.eu.sio.chat.on.y":                        mustPrefix("prod.eu.sio").AppendOn(nil, "chat", "y"),
		"prod.eu.sio.*.*.socket." + testEdge + ".*":    []byte(mustPrefix("prod.eu.sio").Sockets(testEdge)),
		"sio.chat.ack." + testSocket + "." + maxNumber: sio.AppendAck(nil, "chat", testSocket, maxAckNumber),
	} {
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

const maxNumber = "9007199254740991"

func TestPrefix(t *testing.T) {
	for _, s := range []string{"sio", "a", "prod.sio", "a.b.c.d", "_sio", "si$o", "a.$b", "서비스", strings.Repeat("a", maxPrefixBytes)} {
		if p, err := NewPrefix(s); err != nil || p.String() != s || !p.Covers(s+".x") {
			t.Errorf("NewPrefix(%q) = %q, %v", s, p, err)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "*", "a.*", "a*", ">", "a.>", "a b", "a\tb", "a\x7f", "$SYS", "_INBOX", "_INBOX.a",
		"$", "\xff", strings.Repeat("a", maxPrefixBytes+1)} {
		if p, err := NewPrefix(s); !errors.Is(err, errPrefix) || p != (Prefix{}) {
			t.Errorf("NewPrefix(%q) = %q, %v", s, p, err)
		}
	}
	for subject, want := range map[string]bool{"sio.x": true, "sio.a..": true, "sio": false, "sio.": false, "siox.a": false, "": false,
		"x.sio.a": false} {
		if sio.Covers(subject) != want {
			t.Errorf("Covers(%q) = %v", subject, !want)
		}
	}
	if got := (Prefix{}).String(); got != "" {
		t.Errorf("the zero Prefix is %q", got)
	}
}

func TestSocketID(t *testing.T) {
	if edge, own, ok := SplitSocketID(testSocket); !ok || edge != testEdge || own != testOwn {
		t.Errorf("SplitSocketID(%q) = %q, %q, %v", testSocket, edge, own, ok)
	}
	for _, id := range []string{"", testEdge, testEdge + ".", testSocket[:28], testSocket + "a", "." + testSocket[1:],
		strings.ToUpper(testEdge) + "." + testOwn, testEdge + "-" + testOwn, testEdge + "." + "+b-_Ab-_Ab-_Ab-_Ab-9",
		testEdge + "." + "Ab-.Ab-_Ab-_Ab-_Ab-9", "k3f9a0_z." + testOwn, "k3f9a0zzA.b-_Ab-_Ab-_Ab-_Ab-9"} {
		if edge, own, ok := SplitSocketID(id); ok || edge+own != "" || IsSocketID([]byte(id)) {
			t.Errorf("SplitSocketID(%q) = %q, %q, %v", id, edge, own, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"sio._.on.message", "sio.chat.emit.all", "sio.chat.emit.room.a.b", "sio.$edge.x", "",
		"sio.c.emit.socket." + testSocket, "sio.c.ack." + testSocket + ".17", "sio.c.ack." + testSocket + ".connect",
		"sio.c.log.mark." + testEdge + ".7", "sio.c.emit.mark." + testEdge + ".7", "sio.$edge." + testEdge + ".yield." + testHash} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		s, ok := sio.Parse(subject)
		if !ok {
			return
		}
		if again := rebuild(s); s.Kind != 0 && again != subject {
			t.Errorf("%q → %+v → %q", subject, s, again)
		}
	})
}

func rebuild(s Subject) string {
	switch {
	case s.Kind == KindOn:
		return string(sio.AppendOn(nil, s.Namespace, s.Event))
	case s.Kind == KindAck && s.Ack == AckConnect:
		return string(sio.AppendConnectReply(nil, s.Namespace, s.Socket))
	case s.Kind == KindAck:
		n, _ := AckNumber(s.Ack)
		return string(sio.AppendAck(nil, s.Namespace, s.Socket, n))
	case s.Kind == KindOwn:
		return string(sio.AppendOwn(nil, s.Namespace, s.Owner, s.Event))
	case s.Kind == KindService:
		return string(sio.AppendService(nil, s.Namespace, s.Event))
	case s.Kind == KindEdge:
		return sio.EdgeAnnouncement(s.Edge, s.Word)
	case s.Kind == KindPong:
		return sio.Pong(s.Edge, s.Instance)
	case s.Kind == KindMark:
		n, _ := AckNumber(s.Mark)
		mark := string(sio.AppendMark(nil, s.Namespace, s.Edge, n))
		return strings.Replace(mark, "."+VerbEmit+"."+wordMark, "."+s.Verb+"."+wordMark, 1)
	case s.Kind == KindYield:
		return sio.Yield(s.Edge, s.Hash)
	case s.Kind == KindInstance:
		return sio.InstanceAnnouncement(s.Group, s.Instance, s.Word)
	case s.Target == TargetAll:
		return string(sio.AppendAll(nil, s.Namespace, s.Verb))
	case s.Target == TargetRoom:
		return string(sio.AppendToRoom(nil, s.Namespace, s.Verb, s.Room))
	case s.Target == TargetSocket:
		return string(sio.AppendToSocket(nil, s.Namespace, s.Verb, s.Socket))
	}
	return ""
}

// FuzzEventReachesNoEdge checks that a client's events match no subscription of an edge, with any names of events,
// rooms and namespaces. Otherwise a client could command edges.
func FuzzEventReachesNoEdge(f *testing.F) {
	f.Add("/", "all", "x")
	f.Add("/own", "own.chat", "x")
	f.Add("/chat", "room.x", "x")
	f.Add("/ack", "socket."+testSocket, "x")
	f.Add("/$edge", testSocket+".1", "all")
	f.Add("/on", "..", "")
	for _, c := range loadNames(f) {
		if c.Kind == "event" && c.Name != nil {
			f.Add("/chat", *c.Name, *c.Name)
		}
	}
	f.Fuzz(func(t *testing.T, namespace, event, room string) {
		ns, err1 := AppendNamespace(nil, namespace)
		tail, err2 := AppendEvent(nil, event)
		roomTail, err3 := AppendRoom(nil, room)
		if err1 != nil || err2 != nil || err3 != nil {
			return
		}
		for _, p := range []Prefix{sio, mustPrefix("prod.eu.sio")} {
			subject := string(p.AppendOn(nil, string(ns), string(tail)))
			want := Subject{Kind: KindOn, Namespace: string(ns), Verb: VerbOn, Event: string(tail)}
			if s, ok := p.Parse(subject); !ok || s != want {
				t.Errorf("Parse(%q) = %+v, %v", subject, s, ok)
			}
			patterns := []string{p.Sockets(testEdge), p.Acks(testEdge), p.NamespaceAll(string(ns)),
				p.RoomInterest(string(ns), string(roomTail)), p.RoomInterest(string(ns), ">"),
				p.EveryEdge(), p.EveryInstance(WordBeat), p.Pongs(testEdge), p.Marks("*"), p.Captured("*"), p.Session(">"), p.Yields("*"),
				p.SocketByName(string(ns), testSocket), p.AcksByName(string(ns), testSocket)}
			patterns = append(append(patterns, p.LoggedAll(string(ns))...), p.LoggedRoom(string(ns), ">")...)
			for _, verb := range []string{VerbEmit, VerbBroadcast, VerbAsk, VerbJoin, VerbLeave, VerbDisconnect, VerbFetch, VerbData, VerbRooms,
				VerbPause, VerbResume} {
				patterns = append(patterns, p.EveryAll(verb), p.EveryRoom(verb))
			}
			owned := string(p.AppendOwn(nil, string(ns), "chat-1", string(tail)))
			if s, ok := p.Parse(owned); !ok || s.Kind != KindOwn || s.Event != string(tail) || s.Owner != "chat-1" {
				t.Errorf("Parse(%q) = %+v, %v", owned, s, ok)
			}
			for _, pattern := range patterns {
				for _, subject := range []string{subject, owned, string(p.AppendService(nil, string(ns), string(tail)))} {
					if matches(pattern, subject) {
						t.Errorf("%q matches %q", subject, pattern)
					}
				}
			}
		}
	})
}

// TestSubscriptionsMatchCommands is the other half: commands for an edge reach it.
func TestSubscriptionsMatchCommands(t *testing.T) {
	for pattern, subject := range map[string][]byte{
		sio.Sockets(testEdge):                      sio.AppendToSocket(nil, "chat", VerbEmit, testSocket),
		sio.Acks(testEdge):                         sio.AppendAck(nil, "chat", testSocket, 3),
		mustPrefix("a.b").Acks(testEdge):           mustPrefix("a.b").AppendConnectReply(nil, "_", testSocket),
		sio.NamespaceAll("chat"):                   sio.AppendAll(nil, "chat", VerbJoin),
		sio.RoomInterest("chat", "a.b"):            sio.AppendToRoom(nil, "chat", VerbBroadcast, "a.b"),
		sio.EveryAll(VerbFetch):                    sio.AppendAll(nil, "chat", VerbFetch),
		sio.EveryRoom(VerbJoin):                    sio.AppendToRoom(nil, "chat", VerbJoin, "a.b.c"),
		mustPrefix("a.b").RoomInterest("_", "방.1"): mustPrefix("a.b").AppendToRoom(nil, "_", VerbEmit, "방.1"),
	} {
		if !matches(pattern, string(subject)) {
			t.Errorf("%q does not match %q", subject, pattern)
		}
	}
}

// matches reports whether NATS delivers subject to a subscription of pattern.
func matches(pattern, subject string) bool {
	tokens := strings.Split(subject, ".")
	for i, want := range strings.Split(pattern, ".") {
		if want == ">" {
			return i < len(tokens)
		}
		if i >= len(tokens) || want != "*" && want != tokens[i] {
			return false
		}
	}
	return len(tokens) == strings.Count(pattern, ".")+1
}

func TestAckNumber(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "7": 7, "10": 10, maxNumber: maxAckNumber} {
		if n, ok := AckNumber(s); !ok || n != want || strconv.FormatUint(n, 10) != s {
			t.Errorf("AckNumber(%q) = %d, %v", s, n, ok)
		}
	}
	for _, s := range []string{"", "00", "01", "-0", "+1", " 1", "1 ", "1.0", "1e1", "0x1", "９", "9007199254740992",
		"18446744073709551616", strings.Repeat("9", 400), "connect"} {
		if n, ok := AckNumber(s); ok || n != 0 {
			t.Errorf("AckNumber(%q) = %d, %v", s, n, ok)
		}
	}
}

func TestSubjectsNoAlloc(t *testing.T) {
	dst := make([]byte, 0, 256)
	noAlloc(t, "AppendOn", func() { dst = sio.AppendOn(dst[:0], "chat", "message") })
	noAlloc(t, "AppendAll", func() { dst = sio.AppendAll(dst[:0], "chat", VerbEmit) })
	noAlloc(t, "AppendToRoom", func() { dst = sio.AppendToRoom(dst[:0], "chat", VerbEmit, "a.b") })
	noAlloc(t, "AppendToSocket", func() { dst = sio.AppendToSocket(dst[:0], "chat", VerbEmit, testSocket) })
	noAlloc(t, "AppendMark", func() { dst = sio.AppendMark(dst[:0], "chat", testEdge, maxAckNumber) })
	noAlloc(t, "AppendAck", func() { dst = sio.AppendAck(dst[:0], "chat", testSocket, maxAckNumber) })
	noAlloc(t, "AppendConnectReply", func() { dst = sio.AppendConnectReply(dst[:0], "chat", testSocket) })
	for _, s := range []string{"sio.chat.on.message", "sio.chat.emit.room.a.b", "sio.c.ack." + testSocket + ".17",
		"sio.c.ask.socket." + testSocket, "sio.c.emit.all", "sio.c.log.mark." + testEdge + ".17", "nonsense"} {
		noAlloc(t, "Parse "+s, func() { sio.Parse(s) })
	}
}

func BenchmarkParseRoom(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sio.Parse("sio.chat_room.emit.room.lobby.1")
	}
}

func BenchmarkParseAck(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sio.Parse("sio.chat_room.ack." + testSocket + ".17")
	}
}

func BenchmarkAppendToSocket(b *testing.B) {
	dst := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = sio.AppendToSocket(dst[:0], "chat_room", VerbEmit, testSocket)
	}
}

func TestIsToken(t *testing.T) {
	for s, want := range map[string]bool{
		"chat": true, "chat-k3f9a0zz": true, "A_9": true, "-": true, "rooms": true, strings.Repeat("x", MaxTokenBytes): true,
		"": false, "all": false, "room": false, "socket": false, "a.b": false, "a b": false, "*": false, ">": false, "$x": false,
		"%61ll": false, "é": false, strings.Repeat("x", MaxTokenBytes+1): false,
	} {
		if got := IsToken(s); got != want {
			t.Errorf("IsToken(%q) = %v", s, got)
		}
	}
}
