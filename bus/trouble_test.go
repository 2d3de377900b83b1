package bus

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"partyline/internal/natsconn"
	"partyline/internal/natsd/natsdtest"
)

// logLines is a log.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// turnedAway connects with a configuration that NATS refuses. It expects one log line with a text, which Ready must
// return, too. Neither may contain a secret.
func turnedAway(t *testing.T, cfg natsconn.Config, says string, secrets ...string) {
	t.Helper()
	log := &logLines{}
	b, err := Connect(cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	eventually(t, "Ready says: "+says, func() bool {
		why := b.Ready()
		return len(why) == 1 && strings.HasPrefix(why[0], "not connected to NATS: ") && strings.Contains(why[0], says)
	})
	eventually(t, "NATS has refused it some times", func() bool { return strings.Contains(log.all(), says) })
	text := log.all()
	if n := strings.Count(text, "\n"); n != 1 || strings.Contains(text, "cannot reach NATS") {
		t.Errorf("%d logLines, want one about the refusal:\n%s", n, text)
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("a secret is in the log:\n%s", text)
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	server := natsdtest.Start(t, `authorization {users: [{user: edge, password: right}]}`)
	host := strings.TrimPrefix(server.ClientURL(), "nats://")
	turnedAway(t, natsconn.Config{URL: "nats://edge:wr0ng@" + host}, "NATS refused the credentials of nats.url", "wr0ng")
	turnedAway(t, natsconn.Config{URL: "nats://" + host, Token: "t0ken"}, "NATS refused the credentials of nats.token", "t0ken")
	turnedAway(t, natsconn.Config{URL: "nats://" + host}, "without credentials")
}

// A user whose password changes while the edge runs loses its connection.
func TestCredentialsThatStopWorking(t *testing.T) {
	server := natsdtest.Start(t, `authorization {users: [{user: edge, password: right}]}`)
	log := &logLines{}
	b, err := Connect(natsconn.Config{URL: strings.Replace(server.ClientURL(), "nats://", "nats://edge:right@", 1)}, slog.New(slog.NewTextHandler(log, nil)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	eventually(t, "the bus is ready", func() bool { return len(b.Ready()) == 0 })
	server.Reload(`authorization {users: [{user: edge, password: other}]}`)
	eventually(t, "Ready says why", func() bool {
		return strings.Contains(strings.Join(b.Ready(), ""), "NATS refused the credentials of nats.url")
	})
	server.Reload(`authorization {users: [{user: edge, password: right}]}`)
	eventually(t, "the bus is ready again", func() bool { return len(b.Ready()) == 0 })
	if n := strings.Count(log.all(), "NATS refused"); n != 1 || strings.Contains(log.all(), "right") {
		t.Errorf("%d logLines, want 1:\n%s", n, log.all())
	}
}

func TestTooManyConnections(t *testing.T) {
	server := natsdtest.Start(t, `max_connections: 1`)
	client(t, server.ClientURL())
	turnedAway(t, natsconn.Config{URL: server.ClientURL()}, "max_connections of the NATS server")
}

func TestTLSThatDoesNotFit(t *testing.T) {
	plain := natsdtest.Start(t)
	turnedAway(t, natsconn.Config{URL: strings.Replace(plain.ClientURL(), "nats://", "tls://", 1)}, "wants TLS, and the NATS server has none")
}
