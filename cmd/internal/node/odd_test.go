package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"partyline/config"
)

// oddValues are what people type by mistake, or to see what happens.
var oddValues = []string{
	"", " ", "/", "//", "/ /", "/a b/", "/{x/", "/{$}/", "/{x}/", "/{x...}/", "/a{/", "/}/", "{", "/%/", "/%2f/", "/ü/",
	"/a//b/", "/../", "/./", "/\t/", "/\n/", "/\x00/",
	"GET /x/", "h/x/", "/*/", "/a?b/", "/a#b/", "/a\\b/", "/" + strings.Repeat("a", 5000) + "/",
	"*", ">", "sio.>", "$SYS", "sio.*", ".", "a..b", "0", "-1", "1", "9223372036854775807", "-9223372036854775808", "1e9",
	"1ns", "1ms", "2562047h47m16s", "-1h",
	"true", "null", "nats://", "nats://,", ",", "http://h:1", "[::1]:0", ":0", "h:0", "https://*", "ws://h", "::",
	"0.0.0.0/0", "a=b;c", "\xff",
}

// With any value of a key, the program starts or reports what is wrong. It does not panic, and it serves clients at
// its path and nowhere else.
func TestOddValuesAreFaultsOrWork(t *testing.T) {
	var help bytes.Buffer
	if err := config.WriteHelp(&help, config.FlavourEdge); err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`(?m)^  --([a-z_.]+)`).FindAllStringSubmatch(help.String(), -1)
	if len(keys) < 30 {
		t.Fatalf("--help has %d keys", len(keys))
	}
	var starts tries
	for _, match := range keys {
		key := match[1]
		for _, value := range oddValues {
			args := append(freePorts[:2:2], "--nats.url=nats://127.0.0.1:1", "--log.level=error", "--"+key+"="+value)
			if key == "health" || key == "version" || key == "help" || key == "config" || key == "check" {
				continue
			}
			loaded, err := config.Load(config.FlavourEdge, args, nil)
			if err != nil {
				continue
			}
			starts.add(t, fmt.Sprintf("--%s=%q", key, value), loaded.Config)
		}
	}
	for _, name := range oddValues {
		namespaces, err := json.Marshal(map[string]any{"/" + name: map[string]any{
			"connect": "open", "rooms": []string{name + "x"}, "auto_join": []string{name + "x"},
			"relay": []any{map[string]string{"event": name + "x", "to": "all"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Load(config.FlavourEdge, freePorts[:2], []string{"PARTYLINE_NAMESPACES=" + string(namespaces)})
		if err != nil {
			continue
		}
		starts.add(t, string(namespaces), loaded.Config)
	}
	starts.Wait()
	t.Logf("%d of the values are accepted", starts.count)
}

// tries are starts, of which some run at once: most of the time they wait.
type tries struct {
	sync.WaitGroup
	slots chan struct{}
	count int
}

func (s *tries) add(t *testing.T, what string, c config.Config) {
	if s.slots == nil {
		s.slots = make(chan struct{}, 16)
	}
	s.count++
	s.slots <- struct{}{}
	s.Go(func() {
		defer func() { <-s.slots }()
		if said := startAndStop(c); said != "" {
			t.Errorf("%s: %s", what, said)
		}
	})
}

// startAndStop makes all that serves clients, sends it requests, and ends it. It returns what went wrong.
func startAndStop(c config.Config) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = fmt.Sprintf("panic: %v", r)
		}
	}()
	c.Drain = config.Default(config.FlavourEdge).Drain
	f, err := newEdge(edgeFlavour, c, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return ""
	}
	defer f.Leave()
	for path, want := range map[string]int{c.Path: http.StatusBadRequest, "/elsewhere": http.StatusNotFound,
		"/elsewhere/": http.StatusNotFound} {
		r, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			return err.Error()
		}
		r.RemoteAddr = "192.0.2.1:1"
		w := &answer{header: http.Header{}}
		f.Handler.ServeHTTP(w, r)
		if w.status != want {
			return fmt.Sprintf("GET %s is answered with %d, want %d", path, w.status, want)
		}
	}
	return ""
}

// answer records the status of a response.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(s int)   { a.status = s }
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return len(p), nil
}
