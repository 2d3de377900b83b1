package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"partyline/cmd/internal/program"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// record is a log that can be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// lines returns the lines of a level or above, by their messages.
func (r *record) lines(t *testing.T, levels ...string) (found []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := json.NewDecoder(bytes.NewReader(r.text.Bytes())); ; {
		var line struct{ Level, Msg string }
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return found
		case err != nil:
			t.Fatal(err)
		}
		for _, level := range levels {
			if line.Level == level {
				found = append(found, line.Msg)
			}
		}
	}
}

// recorded runs a program until stop is called, and returns the address of its admin pages, and its log.
func recorded(t *testing.T, f Flavour, args ...string) (admin string, log *record, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &record{}
	ended := make(chan int, 1)
	go func() { ended <- Run(ctx, f, args, nil, io.Discard, log) }()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	edgetest.Eventually(t, "it listens", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return bytes.Contains(log.text.Bytes(), []byte(`"msg":"listening"`))
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	for line := range bytes.Lines(log.text.Bytes()) {
		var where listening
		if json.Unmarshal(line, &where) == nil && where.Msg == "listening" {
			admin = "http://" + where.Admin
		}
	}
	return admin, log, stop
}

// By default there are no warnings: neither from the edge at a nats-server without configuration, nor from the one
// with NATS inside.
func TestDefaultsStartWithoutAWarning(t *testing.T) {
	nats := natsdtest.Start(t)
	for _, c := range []struct {
		flavour Flavour
		args    []string
	}{{edgeFlavour, append(freePorts[:2:2], "--nats.url="+nats.ClientURL())}, {embedded, freePorts}} {
		admin, log, stop := recorded(t, c.flavour, c.args...)
		edgetest.Eventually(t, "it is ready", func() bool { status, _ := ask(t, "GET", admin+"/readyz"); return status == http.StatusOK })
		if status := stop(); status != program.ExitOK {
			t.Errorf("%s: status %d", c.flavour.Name, status)
		}
		if all := log.lines(t, "WARN", "ERROR"); len(all) > 0 {
			t.Errorf("%s warns:\n%s", c.flavour.Name, strings.Join(all, "\n"))
		}
	}
}

// /readyz names missing NATS permissions, and refused credentials.
func TestReadyzSaysWhy(t *testing.T) {
	nats := natsdtest.Start(t, `authorization {users: [
		{user: poor, password: r1ght, permissions: {publish: ["sio._.emit.>"], subscribe: ["sio._.on.>"]}}
	]}`)
	for password, says := range map[string]string{"r1ght": "sio.$edge.>",
		"wr0ng": "not connected to NATS: NATS refused the credentials of nats.url"} {
		url := strings.Replace(nats.ClientURL(), "nats://", "nats://poor:"+password+"@", 1)
		admin, log, _ := recorded(t, edgeFlavour, append(freePorts[:2:2], "--nats.url="+url)...)
		edgetest.Eventually(t, "/readyz says "+says, func() bool {
			status, text := ask(t, "GET", admin+"/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(text, says)
		})
		edgetest.Eventually(t, "the log says it in one line", func() bool { return len(log.lines(t, "WARN", "ERROR")) == 1 })
		log.mu.Lock()
		text := log.text.String()
		log.mu.Unlock()
		if strings.Contains(text, password) {
			t.Errorf("the log has the password")
		}
	}
}
