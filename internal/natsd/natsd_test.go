package natsd

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines is a log that several goroutines may write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestInsideAndOutside(t *testing.T) {
	var log lines
	s := start(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	inside, outside := connect(t, "", nats.InProcessServer(s)), connect(t, s.ClientURL())
	sub, err := outside.SubscribeSync("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := outside.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := inside.Publish("a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(nats.DefaultTimeout); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.Shutdown()
	if _, err := s.InProcessConn(); err == nil {
		t.Error("a server that has ended takes connections")
	}
	if log.String() != "" {
		t.Errorf("a quiet run logs %s", log.String())
	}
}

func TestMaxPayload(t *testing.T) {
	for event, message := range map[int]int64{0: 1 << 20, 1_000_000: 1_000_000 + Headroom,
		5_000_000: 5_000_000 + Headroom, maxMessage - Headroom: maxMessage} {
		if nc := connect(t, start(t, Config{MaxPayload: event}).ClientURL()); nc.MaxPayload() != message {
			t.Errorf("events of %d bytes: messages of %d, want %d", event, nc.MaxPayload(), message)
		}
	}
	if _, err := Start(Config{Listen: "127.0.0.1:0", MaxPayload: maxMessage}); err == nil {
		t.Error("events that NATS cannot take are accepted")
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, Config{})
	_, err := Start(Config{Listen: strings.TrimPrefix(s.ClientURL(), "nats://")})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v, want one that wraps EADDRINUSE", err)
	}
	for _, listen := range []string{"nonsense", "127.0.0.1:x", "192.0.2.1:4222"} {
		if _, err := Start(Config{Listen: listen}); err == nil {
			t.Errorf("listens on %s", listen)
		}
	}
}

func TestJetStreamKeepsMessages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "it")
	for round := range 2 {
		s := start(t, Config{JetStreamDir: dir})
		js, err := connect(t, s.ClientURL()).JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish("s", []byte("kept")); err != nil {
				t.Fatal(err)
			}
		} else if m, err := js.GetMsg("S", 1); err != nil || string(m.Data) != "kept" {
			t.Fatalf("after a restart: %v, %v", m, err)
		}
		s.Shutdown()
	}
}

// Without a folder, JetStream has a temporary one, which goes with the server, also if that does not start.
func TestTemporaryJetStream(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := start(t, Config{NeedsStreams: true})
	js, err := connect(t, s.ClientURL()).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish("s", []byte("lost at the end")); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.Stat(s.folder); err != nil || kept.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", kept, err)
	}
	s.Shutdown()
	taken := start(t, Config{})
	if _, err := Start(Config{NeedsStreams: true, Listen: strings.TrimPrefix(taken.ClientURL(), "nats://")}); err == nil {
		t.Error("a second server started at the same port")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestNoTemporaryFolder(t *testing.T) {
	t.Setenv("TMPDIR", "/dev/null")
	if _, err := Start(Config{NeedsStreams: true, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("error %v, want one that says what to do", err)
	}
}

func TestJetStreamFolderCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(Config{Listen: "127.0.0.1:0", JetStreamDir: filepath.Join(file, "folder")})
	if err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("error %v, want one about JetStream", err)
	}
	var refused net.Error
	if errors.As(err, &refused) {
		t.Errorf("error %v is about the network", err)
	}
}

// The embedded server and those of compose.yaml find dead clients equally soon, and sooner than nats-server by
// default.
func TestDeadClientsAreNoticedSoon(t *testing.T) {
	for _, name := range []string{"SERVER_NAME", "NATS_EDGE_PASSWORD", "NATS_CHAT_PASSWORD", "NATS_NEWS_PASSWORD", "NATS_GATEWAY_PASSWORD",
		"NATS_ROUTE_PASSWORD"} {
		t.Setenv(name, "any")
	}
	t.Setenv("NATS_ROUTES", "[]")
	deployed, err := server.ProcessConfigFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	own, err := Config{Listen: "127.0.0.1:0"}.options()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*server.Options{"deploy/nats.conf": deployed, "the server inside": own} {
		if o.PingInterval != 5*time.Second || o.MaxPingsOut != 2 {
			t.Errorf("%s pings every %s and lets %d pings be unanswered, want 5s and 2", name, o.PingInterval, o.MaxPingsOut)
		}
	}
}

// A file of nats-server counts as it is, and a bad one is an error that names its place.
func TestServerConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	start := func(text string, c Config) (*Server, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.ServerConfig = file
		return Start(c)
	}
	for name, c := range map[string]struct {
		text   string
		config Config
		want   string
	}{
		"no syntax":     {"listen: 127.0.0.1:-1\ncluster {\n", Config{}, "embedded.server_config: " + file},
		"unknown key":   {"listen: 127.0.0.1:-1\nclustr { name: x }\n", Config{}, file + ":2:1: unknown field \"clustr\""},
		"open":          {"listen: 0.0.0.0:4299\n", Config{OnlyLoopback: true}, "write listen: 127.0.0.1:4299"},
		"open, default": {"max_payload: 1MB\n", Config{OnlyLoopback: true}, "(listen: 0.0.0.0:4222)"},
		"no JetStream":  {"listen: 127.0.0.1:-1\n", Config{NeedsStreams: true}, "has no JetStream, which recovery and rewind need"},
	} {
		if s, err := start(c.text, c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				s.Shutdown()
			}
		}
	}
	s, err := start("listen: 127.0.0.1:-1\nmax_payload: 100KB\nauthorization { token: x }\n", Config{MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if _, err := nats.Connect(s.ClientURL()); err == nil || !s.asksForCredentials() {
		t.Errorf("it asks for no token: %v", err)
	}
	inside := connect(t, "", nats.InProcessServer(s), nats.Token("x"))
	if limit := inside.MaxPayload(); limit != 100_000 && limit != 100<<10 {
		t.Errorf("the largest message has %d bytes", limit)
	}
}

// Without an address only the process itself connects.
func TestNoAddress(t *testing.T) {
	s, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	connect(t, "", nats.InProcessServer(s))
	if url := s.ClientURL(); url != "" {
		t.Errorf("others connect at %s", url)
	}
}
