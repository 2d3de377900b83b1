package hostile

import (
	"bytes"
	"strings"
	"testing"

	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/wire/msgpack"
)

// enterPacked opens a session of the msgpack parser and connects it to /chat.
func (s *stage) enterPacked(name string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	c.SendBinary([]byte("\x82\xa4type\x00\xa3nsp\xa5/chat"))
	message, binary := strings.CutPrefix(c.Next(), "b")
	p, _, err := msgpack.Parse(nil, []byte(message), 1000)
	id, ok := strings.CutPrefix(string(p.Data), `{"sid":"`)
	if !binary || err != nil || !ok {
		s.t.Fatalf("%s got %q instead of a CONNECT", name, message)
	}
	return &socket{Client: c, ID: strings.TrimSuffix(id, `"}`), Head: "/chat,", Token: "chat"}
}

func TestBadMsgpack(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.MaxPayload = 100_000
	})
	binary := func(name, message, says string) crime {
		return crime{name, func(so *socket) { so.SendBinary([]byte(message)) }, forced, says}
	}
	with := func(name, value, says string) crime {
		return binary(name, "\x83\xa4type\x02\xa3nsp\xa5/chat\xa4data\x92\xa1x"+value, says)
	}
	whole := "\x83\xa4type\x02\xa3nsp\xa5/chat\xa4data\x92\xa1x\xa5hello"
	s.punishedAs(s.enterPacked, []crime{
		binary("nothing", "", "ends too early"),
		binary("no packet", "\x90", "no packet"),
		binary("an unknown type", "\x82\xa4type\x07\xa3nsp\xa5/chat", "unknown packet type"),
		binary("no namespace", "\x81\xa4type\x02", "namespace"),
		binary("an event without data", "\x82\xa4type\x02\xa3nsp\xa5/chat", "invalid payload"),
		binary("an event without a name", "\x83\xa4type\x02\xa3nsp\xa5/chat\xa4data\x90", "not an event name"),
		binary("a reserved name", "\x83\xa4type\x02\xa3nsp\xa5/chat\xa4data\x91\xa7connect", "reserved"),
		binary("a name of too many tokens", "\x83\xa4type\x02\xa3nsp\xa5/chat\xa4data\x91\xd9\x63"+strings.Repeat("ab.", 33), "tokens"),
		binary("connect with an array", "\x83\xa4type\x00\xa3nsp\xa5/door\xa4data\x90", "invalid payload"),
		binary("a namespace without a slash", "\x82\xa4type\x00\xa3nsp\xa4door", "namespace"),
		binary("a namespace without end", "\x82\xa4type\x00\xa3nsp\xda\x10\x00/"+strings.Repeat("x", 4095), "namespace"),
		binary("an immense id", "\x84\xa4type\x02\xa3nsp\xa5/chat\xa4data\x91\xa1x\xa2id\xcf"+strings.Repeat("\xff", 8), "id out of range"),
		binary("cut off", whole[:len(whole)-1], "ends too early"),
		binary("bytes behind it", whole+"\x00", "bytes behind"),
		with("an immense array", "\xdd\xff\xff\xff\xff", "ends too early"),
		with("an immense map", "\xdf\xff\xff\xff\xff", "ends too early"),
		with("an immense string", "\xdb\xff\xff\xff\xff", "ends too early"),
		with("immense bytes", "\xc6\xff\xff\xff\xff", "ends too early"),
		with("levels without end", strings.Repeat("\x91", 90_000)+"\xc0", "too deeply"),
		with("levels of placeholders", strings.Repeat("\x91", 9_999)+"\xc4\x00", "too deeply"),
		with("eleven attachments", "\x9b"+strings.Repeat("\xc4\x00", 11), "too many binary values"),
		with("not UTF-8", "\xa2\xff\xfe", "not valid UTF-8"),
		with("an array as a key", "\x81\x90\xc0", "invalid value or key"),
		with("the byte that is never used", "\xc1", "invalid value or key"),
		with("larger as JSON than may be", "\xdc\x75\x30"+string(bytes.Repeat([]byte{0xc0}, 30_000)), "larger than max_payload"),
		with("a placeholder of its own", "\x92\xc4\x00\x82\xac_placeholder\xc3\xa3num\x01", "placeholder"),
		{"text", func(so *socket) { so.Send(`42/chat,["x"]`) }, forced, "text from a client that began with msgpack"},
		{"a second CONNECT", func(so *socket) { so.SendBinary([]byte("\x82\xa4type\x00\xa3nsp\xa5/chat")) }, outOfTurn, "out of turn"},
		{"a connect error", func(so *socket) { so.SendBinary([]byte("\x83\xa4type\x04\xa3nsp\xa5/chat\xa4data\x80")) }, outOfTurn, "out of turn"},
		{"a namespace not joined", func(so *socket) {
			so.SendBinary([]byte("\x83\xa4type\x02\xa3nsp\xa8/extra-1\xa4data\x91\xa1x"))
		}, outOfTurn, "out of turn"},
	})
}

// The first message determines the dialect. If it is neither, the session ends before it has a socket.
func TestFirstMessageIsNeither(t *testing.T) {
	s := begin(t)
	for name, message := range map[string]string{"garbage": "\xff\xfe", "nothing": "", "an event of JSON": `2["x"]`} {
		ended, said := s.ended(forced), len(s.Logged())
		c := s.Dial(name)
		c.SendBinary([]byte(message))
		c.ExpectEnd()
		edgetest.Eventually(s.t, "the session ended", func() bool { return s.ended(forced) == ended+1 })
		s.said(name, said, "msgpack", "address=127.0.0.1")
		c.Hangup()
	}
}
