package node

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"partyline/config"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// reloading is a running edge whose file changes.
type reloading struct {
	t          *testing.T
	file, base string
	address    string
	admin      string
	log        *record
	talk       *enginetest.Conversation
}

// with reloads the base configuration with other limits, and what stands behind it.
func (r *reloading) with(limits, more string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(r.base+"limits: {"+limits+"}\n"+more), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if status, text := ask(r.t, "POST", r.admin+"/reload"); status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", limits, more, status, text)
	}
}

// client connects to /chat.
func (r *reloading) client() *edgetest.Socket {
	r.t.Helper()
	return edgetest.Enter(enginetest.Dial(r.t, r.talk, "client", r.address, nil), "/chat", "")
}

// request sends a request of polling, with the session sid or without one.
func (r *reloading) request(method, sid, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	request, err := http.NewRequest(method, r.address+"/socket.io/?EIO=4&transport=polling"+sid, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return &http.Response{Header: http.Header{}}, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response, string(text)
}

// deaf is a session in the room of /chat that never polls.
func (r *reloading) deaf() {
	r.t.Helper()
	edgetest.Eventually(r.t, "earlier clients have gone", func() bool { return r.figure("rooms") == 0 })
	_, text := r.request("GET", "", "", "X-Large", strings.Repeat("x", 12<<10))
	var open struct{ Sid string }
	_ = json.Unmarshal([]byte(strings.TrimPrefix(text, "0")), &open)
	if _, text = r.request("POST", "&sid="+open.Sid, "40/chat,"); text != "ok" {
		r.t.Fatalf("a POST was answered %q", text)
	}
	_, _ = r.request("GET", "&sid="+open.Sid, "") // its CONNECT; before that it may not send
	_, _ = r.request("POST", "&sid="+open.Sid, `42/chat,["join","`+r.room()+`"]`)
	edgetest.Eventually(r.t, "it is in the room", func() bool { return r.figure("rooms") == 1 })
}

// room is of one test.
func (r *reloading) room() string { return r.t.Name() }

// floods sends so many events with so many bytes to the room.
func (r *reloading) floods(from *edgetest.Socket, events, bytes int) {
	from.Emit("", `["join","`+r.room()+`"]`)
	for range events {
		from.Emit("", `["say","`+r.room()+`","`+strings.Repeat("x", bytes)+`"]`)
	}
}

// figure reads a metric with its labels.
func (r *reloading) figure(name string) float64 {
	r.t.Helper()
	_, text := ask(r.t, "GET", r.admin+"/metrics")
	found := regexp.MustCompile(`(?m)^partyline_` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		r.t.Fatalf("no metric %s", name)
	}
	value, _ := strconv.ParseFloat(found[1], 64)
	return value
}

// rises waits until a metric has risen by so much since before.
func (r *reloading) rises(name string, by float64, do func()) {
	r.t.Helper()
	before := r.figure(name)
	do()
	edgetest.Eventually(r.t, name+" rises", func() bool { return r.figure(name) >= before+by })
}

// refused begins sessions until one is refused with a text.
func (r *reloading) refused(text string) {
	r.t.Helper()
	edgetest.Eventually(r.t, "a session is refused: "+text, func() bool { _, said := r.request("GET", "", ""); return strings.HasPrefix(said, text) })
}

// effects show that a key that reloads counts.
var effects = map[string]func(r *reloading){
	"log.level": func(r *reloading) {
		r.with("", "log: {level: debug}\n")
		r.client().Hangup()
		edgetest.Eventually(r.t, "a line of level debug", func() bool { return len(r.log.lines(r.t, "DEBUG")) > 0 })
	},
	"cors.origins": func(r *reloading) {
		if response, _ := r.request("GET", "", "", "Origin", "https://a.example"); response.StatusCode != 403 {
			r.t.Errorf("an origin that is not listed: %d", response.StatusCode)
		}
		r.with("", "cors: {origins: [\"https://a.example\"]}\n")
		if response, _ := r.request("GET", "", "", "Origin", "https://a.example"); response.StatusCode != 200 {
			r.t.Errorf("an origin that is listed: %d", response.StatusCode)
		}
	},
	"cors.credentials": func(r *reloading) {
		r.with("", "cors: {origins: [\"https://a.example\"], credentials: true}\n")
		if response, _ := r.request("GET", "", "", "Origin", "https://a.example"); response.Header.Get("Access-Control-Allow-Credentials") != "true" {
			r.t.Errorf("headers %v", response.Header)
		}
	},
	"limits.rooms_per_socket": func(r *reloading) {
		so := r.client()
		r.with("rooms_per_socket: 1", "")
		so.Emit("1", `["join","a"]`)
		so.Acked("1", `[{"ok":true}]`)
		so.Emit("2", `["join","b"]`)
		so.Acked("2", `[{"error":"too many rooms: the limit is 1"}]`)
	},
	"limits.namespaces_per_session": func(r *reloading) {
		so := r.client()
		r.with("namespaces_per_session: 1", "")
		so.Send("40")
		so.Expect(`44{"message":"too many namespaces"}`)
	},
	"limits.sessions": func(r *reloading) {
		r.client()
		r.with("sessions: 1", "")
		r.refused("too many sessions, try again later")
	},
	"limits.sessions_per_address": func(r *reloading) {
		r.client()
		r.with("sessions_per_address: 1", "")
		r.refused("too many sessions of your address, try")
	},
	"limits.handshakes_per_second": func(r *reloading) {
		r.with("handshakes_per_second: 1", "")
		r.refused("too many sessions at a time")
	},
	"limits.handshakes_per_second_per_address": func(r *reloading) {
		r.with("handshakes_per_second_per_address: 1", "")
		r.refused("too many sessions of your address at a time")
	},
	"limits.connections": func(r *reloading) {
		r.with("connections: 7", "")
		if n := r.figure("connections_most"); n != 7 {
			r.t.Errorf("%g connections", n)
		}
	},
	"limits.connections_per_address": func(r *reloading) {
		r.with("connections_per_address: 1", "")
		so := r.client()
		r.rises(`connections_refused_total{limit="address"}`, 1, func() { r.request("GET", "", "") })
		so.Hangup()
	},
	"limits.events_per_second": func(r *reloading) {
		r.with("events_per_second: 1, events_burst: 50", "")
		so := r.client()
		r.rises("clients_slowed_seconds_total", 5, func() { r.floods(so, 60, 1) })
	},
	"limits.events_burst": func(r *reloading) {
		r.with("events_burst: 1", "")
		so := r.client()
		r.rises("clients_slowed_total", 1, func() { r.floods(so, 300, 1) })
	},
	"limits.bytes_per_second": func(r *reloading) {
		r.with("bytes_per_second: 1", "")
		so := r.client()
		r.rises("clients_slowed_seconds_total", 5, func() { r.floods(so, 10, 1000) })
	},
	"limits.overrun": func(r *reloading) {
		r.with("events_per_second: 1, events_burst: 50, overrun: 1ms", "")
		so := r.client()
		r.rises(`sessions_ended_total{reason="rate exceeded"}`, 1, func() { r.floods(so, 100, 1) })
	},
	"limits.queue_bytes": func(r *reloading) {
		r.with("queue_bytes: 65536", "")
		r.deaf()
		so := r.client()
		r.rises(`sessions_too_large_total{limit="limits.queue_bytes"}`, 1, func() { r.floods(so, 100, 1000) })
	},
	"limits.queue_packets": func(r *reloading) {
		r.with("queue_packets: 16", "")
		r.deaf()
		so := r.client()
		r.rises(`sessions_too_large_total{limit="limits.queue_packets"}`, 1, func() { r.floods(so, 100, 1) })
	},
	"limits.session_bytes": func(r *reloading) {
		r.with("queue_bytes: 65536, session_bytes: 65536", "")
		r.deaf()
		so := r.client()
		r.rises(`sessions_too_large_total{limit="limits.session_bytes"}`, 1, func() { r.floods(so, 100, 1000) })
	},
}

// Every key of an edge that --help marks counts once the configuration was read again. Package config has the test that
// every other key is refused by its name.
func TestEachKeyThatReloadsCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	var help bytes.Buffer
	if err := config.WriteHelp(&help, config.FlavourEdge); err != nil {
		t.Fatal(err)
	}
	var marked []string
	for _, match := range regexp.MustCompile(`(?m)^  --([a-z_.]+).*\n.*\n.*, reloads$`).FindAllStringSubmatch(help.String(), -1) {
		marked = append(marked, match[1])
	}
	slices.Sort(marked)
	if known := slices.Sorted(maps.Keys(effects)); !slices.Equal(marked, known) {
		t.Fatalf("--help marks %v, and this test knows %v", marked, known)
	}
	r := &reloading{t: t, file: filepath.Join(t.TempDir(), "edge.yaml"), base: "engine: {max_payload: 2000, ping_interval: 10s, ping_timeout: 10s}\n" +
		"nats: {url: \"" + natsdtest.Start(t).ClientURL() + "\"}\n" +
		`namespaces: {"/": {connect: open}, "/chat": {connect: open, rooms: ["*"], relay: [{event: say, to: room}]}}` + "\n"}
	if err := os.WriteFile(r.file, []byte(r.base), 0o600); err != nil {
		t.Fatal(err)
	}
	r.admin, r.log, _ = recorded(t, edgeFlavour, "--config", r.file, "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0")
	r.log.mu.Lock()
	r.address = "http://" + regexp.MustCompile(`"address":"(127[^"]+)"`).FindStringSubmatch(r.log.text.String())[1]
	r.log.mu.Unlock()
	edgetest.Eventually(t, "it is ready", func() bool { status, _ := ask(t, "GET", r.admin+"/readyz"); return status == http.StatusOK })
	for name, effect := range effects {
		t.Run(name, func(t *testing.T) {
			r.t, r.talk = t, enginetest.NewConversation(t)
			effect(r)
			r.with("", "")
		})
	}
}
