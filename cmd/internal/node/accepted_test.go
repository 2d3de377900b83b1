package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/cmd/internal/program"
	"partyline/config"
)

// plainValues are good values of some key, beside oddValues.
var plainValues = []string{
	"10s", "1h", "240h", "87600h", "2", "16", "1024", "65536", "1000000", "1073741824", "1099511627776", "off", "on", "auto",
	"debug", "polling", "websocket", "polling,websocket", "io", "__Host-io", "https://*.app.example", "null,file://,*", "/ä/b.c/",
	"/socket.io", "prod.sio", "서비스", "10.0.0.0/8,127.0.0.1,::1", "http://10.0.0.7:3000", "http://[::1]:1/", "s3cret", "edge-1:3001",
	"nats://127.0.0.1:1", "ann:b@127.0.0.1:1,[::1]:2", "tls://127.0.0.1:1", "ws://127.0.0.1:1",
}

// ownValues are those of keys for which others would leave the machine, or write files into the source tree.
var ownValues = map[string][]string{
	"listen":                 {":0", "127.0.0.1:0", "localhost:0", "[::1]:0"},
	"admin.listen":           {"127.0.0.1:0", "localhost:0", "[::1]:0"},
	"embedded.listen":        {"127.0.0.1:0", "localhost:0", "[::1]:0"},
	"nats.url":               plainValues[len(plainValues)-4:],
	"embedded.jetstream.dir": {""},
	"log.level":              {"debug"},
}

var helpKey = regexp.MustCompile(`(?m)^  --([a-z_.]+)`)

// chooser makes configurations of a program out of single values that Load accepts.
type chooser struct {
	flavour Flavour
	keys    []string
}

func newChooser(t *testing.T, f Flavour) *chooser {
	t.Helper()
	var help bytes.Buffer
	if err := config.WriteHelp(&help, f.Name); err != nil {
		t.Fatal(err)
	}
	c := &chooser{flavour: f}
	for _, match := range helpKey.FindAllStringSubmatch(help.String(), -1) {
		if !slices.Contains([]string{"config", "help", "version", "health"}, match[1]) {
			c.keys = append(c.keys, match[1])
		}
	}
	return c
}

// flag returns a flag with a value that Load accepts, or false if it has found none.
func (c *chooser) flag(r *rand.Rand) (flag string, ok bool) {
	key := c.keys[r.IntN(len(c.keys))]
	for range 10 {
		values, own := ownValues[key]
		if !own {
			values = slices.Concat(oddValues, plainValues)
		}
		value := values[r.IntN(len(values))]
		if !own && r.IntN(8) == 0 {
			value = mutated(r, value)
		}
		flag = "--" + key + "=" + value
		if _, err := config.Load(c.flavour.Name, []string{flag}, nil); err == nil {
			return flag, true
		}
	}
	return "", false
}

// choose returns arguments and an environment with some of the keys.
func (c *chooser) choose(r *rand.Rand) (args, environment []string) {
	args = freePorts[:2:2]
	if c.flavour.StartNATS != nil {
		args = freePorts[:3:3]
	} else {
		args = append(args, "--nats.url=nats://127.0.0.1:1")
	}
	for range 1 + r.IntN(8) {
		if flag, ok := c.flag(r); ok {
			args = append(args, flag)
		}
	}
	if r.IntN(3) == 0 {
		odd := func() string { return oddValues[r.IntN(len(oddValues))] }
		namespaces, _ := json.Marshal(map[string]any{"/" + odd(): map[string]any{
			"connect": "open", "rooms": []string{odd() + "x"}, "auto_join": []string{odd() + "y"},
			"relay": []any{map[string]string{"event": odd() + "z", "to": "rooms_or_all"}},
		}, "/": map[string]any{}})
		environment = []string{"PARTYLINE_NAMESPACES=" + string(namespaces)}
	}
	return append(args, "--log.level=debug"), environment
}

// mutated returns a value with a piece of another, or of itself, in some place.
func mutated(r *rand.Rand, value string) string {
	other := slices.Concat(oddValues, plainValues)[r.IntN(len(oddValues)+len(plainValues))]
	from, at := r.IntN(len(other)+1), r.IntN(len(value)+1)
	return value[:at] + other[from:] + value[min(len(value), at+r.IntN(3)):]
}

// output is a log, and its line `listening`.
type output struct {
	mu        sync.Mutex
	text      bytes.Buffer // guarded by mu
	listening chan listening
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	for line := range bytes.Lines(p) {
		var where listening
		if json.Unmarshal(line, &where) == nil && where.Msg == "listening" {
			o.listening <- where
		}
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// runAccepted runs a program with a configuration that Load accepts, sends it requests, and stops it. It returns what
// went wrong, and false if Load does not accept it.
func runAccepted(f Flavour, args, environment []string) (wrong string, accepted bool) {
	loaded, err := config.Load(f.Name, args, environment)
	if err != nil || loaded.Action != config.ActionRun {
		return "", false
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	log, ended := &output{listening: make(chan listening, 1)}, make(chan int, 1)
	go func() { ended <- Run(ctx, f, args, environment, io.Discard, log) }()
	select {
	case status := <-ended:
		if strings.Contains(log.String(), "no such host") { // a name to listen on may be in the network's books, which Load does not ask
			return "", true
		}
		return fmt.Sprintf("it ends with status %d: %s", status, log), true
	case where := <-log.listening:
		wrong = tryRequests(loaded.Config, where)
	}
	cancel()
	select {
	case status := <-ended:
		if status != program.ExitOK {
			wrong += fmt.Sprintf("; it ends with status %d", status)
		}
	case <-time.After(deadline):
		return wrong + "; it does not end: " + log.String(), true
	}
	if text := log.String(); strings.Contains(text, "panic") {
		wrong += "; it panics: " + text
	}
	return wrong, true
}

// tryRequests sends requests to a program, and returns what is wrong with the answers.
func tryRequests(c config.Config, where listening) (wrong string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
	clients, operator := "http://"+where.Address, "http://"+where.Admin
	path := (&url.URL{Path: c.Path}).EscapedPath()
	for _, page := range []string{
		clients + path + "?EIO=4&transport=polling", clients + path + "?EIO=4&transport=polling&sid=x", clients + path + "socket.io.js",
		clients + path + "x", clients + "/", clients + "/elsewhere/", operator + "/readyz", operator + "/metrics", operator + "/edges",
	} {
		request, err := http.NewRequest(http.MethodGet, page, nil)
		if err != nil {
			return err.Error()
		}
		request.Header.Set("Origin", "https://app.example")
		response, err := client.Do(request)
		if err != nil {
			wrong += fmt.Sprintf("; GET %s: %v", page, err)
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable {
			wrong += fmt.Sprintf("; GET %s: %s", page, response.Status)
		}
	}
	return wrong
}

// Any configuration that Load accepts starts, answers requests, and stops.
func TestAcceptedConfigurationsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	seed := rand.Uint64()
	for _, f := range []Flavour{edgeFlavour, embedded} {
		t.Run(string(f.Name), func(t *testing.T) {
			t.Parallel()
			c := newChooser(t, f)
			r, ran := rand.New(rand.NewPCG(seed, 0)), 0
			for range 20 {
				args, environment := c.choose(r)
				wrong, accepted := runAccepted(f, args, environment)
				if wrong != "" {
					t.Errorf("seed %d, %q %q: %s", seed, args, environment, wrong)
				}
				if accepted {
					ran++
				}
			}
			t.Logf("%d of 20 configurations are accepted", ran)
		})
	}
}
