package permissions

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/eventlog"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/subjects"
)

// logged returns the lists that the contract adds to an edge's for a logged namespace.
func logged(t *testing.T) (publish, subscribe string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```hcl\npublish: \\[(.*?)\\]\nsubscribe: \\[(.*?)\\]\n```$").FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("the contract lists no permissions for a logged namespace")
	}
	return found[1], found[2]
}

// What the code takes for the permissions of an edge with a logged namespace is what the contract lists.
func TestLogPermissions(t *testing.T) {
	prefix, _ := subjects.NewPrefix("sio")
	publish, subscribe := prefix.LogPermissions()
	listed, listens := logged(t)
	for _, c := range []struct {
		want   []string
		listed string
	}{{publish, listed}, {subscribe, listens}} {
		got := quoted(c.listed)
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("the contract lists %q, the code %q", got, c.want)
		}
	}
}

// beginLogged is a NATS server with JetStream, whose edge has the permissions for a logged namespace, without edges.
func beginLogged(t *testing.T) *stage {
	t.Helper()
	publish, subscribe := logged(t)
	conf := documented(t)
	for list, more := range map[string]string{"publish: [": publish, "subscribe: [": subscribe} {
		user, rest, _ := strings.Cut(conf, "user: edge,")
		conf = user + "user: edge," + strings.Replace(rest, list, list+more+", ", 1)
	}
	conf += "\njetstream { store_dir: " + `"` + t.TempDir() + `"` + " }\n"
	return &stage{t: t, server: natsdtest.Start(t, conf)}
}

// With the documented permissions an edge makes the log and the records, writes to both and reads both. NATS refuses
// it nothing, and refuses everyone else what only NATS and edges may.
func TestTheLogWithPermissions(t *testing.T) {
	s := beginLogged(t)
	maker, chat := s.as("edge"), s.as("chat")
	prefix, _ := subjects.NewPrefix("sio")
	log := eventlog.New(eventlog.Settings{
		Conn: maker.NC, Prefix: prefix, Storage: eventlog.StorageFile, Replicas: 1, MaxBytes: 1 << 20, MaxAge: time.Minute,
		Subjects: []string{prefix.Captured("chat")}, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); log.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	edgetest.Eventually(t, "the streams are there", func() bool { return log.Ready() == nil })

	heard := maker.Hear("sio.*.log.mark.*.*")
	maker.publish(string(prefix.AppendMark(nil, "chat", "k3f9a0zz", 1)), "", "1")
	if m, err := heard.NextMsg(edgetest.Patience); err != nil || m.Subject != "sio.chat.log.mark.k3f9a0zz.1" || m.Header.Get("Nats-Sequence") != "1" {
		t.Fatalf("the mark came back as %v, %v", m, err)
	}
	read := make(chan error, 1)
	log.Read(eventlog.Scan{To: 1, Each: func(*eventlog.Entry) {}, Done: func(_ uint64, err error) { read <- err }})
	if err := <-read; err != nil {
		t.Errorf("the log cannot be read: %v", err)
	}
	const hash = "Ab-_Ab-_Ab-_Ab-_Ab-_A9"
	log.Write(eventlog.Write{Key: hash, Holder: "k3f9a0zz", Claim: "a", Body: []byte("{}"), Done: func(_ uint64, err error) { read <- err }})
	if err := <-read; err != nil {
		t.Errorf("a record cannot be written: %v", err)
	}
	log.Beat("k3f9a0zz")
	maker.Flush()
	edgetest.Eventually(t, "the beat is there", func() bool { _, err := log.LastBeat(ctx, "k3f9a0zz"); return err == nil })
	if r, err := log.Record(ctx, hash); err != nil || r.Holder != "k3f9a0zz" {
		t.Errorf("the record is %+v, %v", r, err)
	}
	maker.unhindered()

	for _, subject := range []string{"sio.chat.log.all", "$JS.API.STREAM.DELETE.SIO_LOG", "$JS.API.STREAM.CREATE.other"} {
		maker.publish(subject, "", "{}")
		maker.mayNot("publish", subject)
	}
	for _, subject := range []string{"sio.chat.log.all", "sio.$session." + hash, "$JS.API.DIRECT.GET.SIO_LOG", "$JS.API.STREAM.MSG.GET.SIO_SESSIONS"} {
		chat.publish(subject, "", "{}")
		chat.mayNot("publish", subject)
	}
	for _, subject := range []string{"sio.$session.>", "sio.chat.log.>"} {
		chat.Hear(subject)
		chat.mayNot("subscription", subject)
	}
}

// With the documented permissions a client recovers, another one gets the last events of a room, and NATS refuses the
// edge nothing. With those of an edge without a logged namespace it is not ready, and says what is missing.
func TestAnEdgeRecoversWithPermissions(t *testing.T) {
	s := beginLogged(t)
	namespaces := map[string]rule.Namespace{"/chat": {Connect: rule.ConnectService, Recovery: rule.Recovery{For: time.Minute},
		Rewind: []rule.Rewind{{Room: "*", Messages: 2, Age: time.Minute}}}}
	s.Node = start(t, s.server, "edge", namespaces).Ready()
	service := s.as("chat")
	service.answer("sio.chat.on.connect", `[{"rooms":["news"],"user":"u"}]`)
	ann := s.Dial("ann")
	ann.Send("40/chat,")
	granted := ann.Next()
	service.publish("sio.chat.emit.room.news", "", `["one"]`)
	first := ann.Next()
	offset := regexp.MustCompile(`^42/chat,\["one","(.*)"\]$`).FindStringSubmatch(first)
	pid := regexp.MustCompile(`^40/chat,\{"sid":".*","pid":"(.*)"\}$`).FindStringSubmatch(granted)
	if offset == nil || pid == nil {
		t.Fatalf("the client gets %s and %s", granted, first)
	}
	gone := service.Hear("sio.chat.on.disconnect")
	ann.Hangup()
	gone.Next()
	service.publish("sio.chat.emit.room.news", "", `["two"]`)
	again := s.Dial("ann again")
	again.Send(`40/chat,{"pid":"` + pid[1] + `","offset":"` + offset[1] + `"}`)
	if missed := again.Next(); !strings.HasPrefix(missed, `42/chat,["two","`) {
		t.Errorf("the client that came back gets %s", missed)
	}
	again.Expect(granted)
	bob := s.Dial("bob")
	bob.Connect("/chat", "")
	for _, want := range []string{"one", "two"} {
		if past := bob.Next(); !strings.HasPrefix(past, `42/chat,["`+want+`","`) {
			t.Errorf("who enters the room gets %s, want %s", past, want)
		}
	}
	service.unhindered()
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things:\n%s", n, strings.Join(s.Logged(), "\n"))
	}

	plain := start(t, natsdtest.Start(t, documented(t)+"\njetstream { store_dir: "+`"`+t.TempDir()+`"`+" }\n"), "edge", namespaces)
	neverReady(t, plain)
	edgetest.Eventually(t, "it says what is missing", func() bool { return strings.Contains(unpermitted(plain), "sio.*.log.mark.*.*") })
}
