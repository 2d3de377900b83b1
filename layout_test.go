package partyline_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layer lists what a package may import of this module. Arrows only go down.
var layers = map[string][]string{
	"":                          {"backend", "config", "internal/front", "internal/natsd"},
	"wire/eio":                  {"wire/ws"},
	"wire/jsontext":             {},
	"wire/sio":                  {"wire/jsontext"},
	"wire/msg":                  {"wire/jsontext", "wire/sio"},
	"wire/msgpack":              {"wire/jsontext", "wire/sio"},
	"wire/recovery":             {"wire/jsontext"},
	"wire/ws":                   {},
	"subjects":                  {},
	"token":                     {"internal/tally", "internal/throttle", "wire/jsontext", "wire/msg"},
	"rule":                      {"internal/rates", "internal/tally", "subjects", "wire/msg"},
	"internal/address":          {},
	"internal/bearer":           {"wire/jsontext", "wire/msg"},
	"internal/tally":            {},
	"internal/buffers":          {"internal/turn"},
	"internal/countdown":        {},
	"internal/direct":           {},
	"internal/fair":             {},
	"internal/flow":             {},
	"internal/handshakes":       {"internal/address"},
	"internal/ids":              {},
	"internal/liveness":         {},
	"internal/members":          {"rule", "wire/msg"},
	"internal/memory":           {},
	"internal/natsconn":         {},
	"internal/origin":           {},
	"internal/pace":             {},
	"internal/query":            {"internal/share", "internal/turn", "subjects", "wire/msg"},
	"internal/rates":            {},
	"internal/redact":           {},
	"internal/request":          {},
	"internal/share":            {},
	"internal/snapshot":         {},
	"internal/subscriptions":    {},
	"internal/throttle":         {"internal/tally"},
	"internal/turn":             {},
	"internal/wake":             {},
	"internal/listen":           {"internal/address", "internal/tally", "internal/throttle", "internal/turn"},
	"internal/logqueue":         {"internal/tally", "internal/wake"},
	"internal/permits":          {"internal/throttle"},
	"bus":                       {"internal/direct", "internal/fair", "internal/natsconn", "internal/permits", "internal/redact", "internal/subscriptions", "internal/tally", "internal/throttle", "internal/wake"},
	"eventlog":                  {"internal/tally", "internal/throttle", "internal/wake", "subjects", "wire/msg", "wire/recovery"},
	"engine":                    {"wire/eio", "wire/ws", "internal/buffers", "internal/direct", "internal/handshakes", "internal/ids", "internal/memory", "internal/origin", "internal/pace", "internal/rates", "internal/request", "internal/tally", "internal/throttle", "internal/turn", "internal/wake"},
	"engine/enginetest":         {},
	"edge/owner":                {"subjects", "wire/msg", "internal/liveness", "internal/pace", "internal/share", "internal/tally", "internal/throttle"},
	"edge/registry":             {"internal/flow", "internal/snapshot", "subjects"},
	"edge/recovery":             {"eventlog", "subjects", "wire/msg", "wire/recovery", "internal/tally", "internal/throttle", "internal/wake"},
	"edge/presence":             {"internal/members", "internal/tally", "rule", "subjects", "wire/msg"},
	"edge":                      {"bus", "edge/owner", "edge/presence", "edge/recovery", "edge/registry", "engine", "eventlog", "rule", "subjects", "wire/eio", "wire/sio", "wire/msg", "wire/msgpack", "wire/recovery", "internal/bearer", "internal/buffers", "internal/countdown", "internal/flow", "internal/ids", "internal/liveness", "internal/members", "internal/query", "internal/share", "internal/tally", "internal/throttle", "internal/wake"},
	"backend":                   {"rule", "subjects", "wire/msg", "internal/liveness", "internal/members", "internal/throttle", "internal/wake"},
	"gateway/strict":            {},
	"gateway/api":               {"backend", "gateway/strict", "internal/tally", "internal/throttle", "subjects"},
	"gateway/adminui":           {"backend", "internal/address", "internal/tally", "internal/throttle", "internal/wake", "subjects"},
	"cluster":                   {"bus", "engine", "subjects", "wire/eio", "wire/msg", "internal/direct", "internal/listen", "internal/liveness", "internal/pace", "internal/tally", "internal/throttle", "internal/wake"},
	"internal/wiring":           {"bus", "cluster", "config", "edge", "engine", "eventlog", "internal/ids", "internal/listen", "internal/natsconn", "internal/tally", "internal/turn", "rule", "subjects", "token", "wire/msg"},
	"internal/front":            {"bus", "config", "internal/wiring", "web"},
	"internal/edgetest":         {"bus", "cluster", "config", "engine", "engine/enginetest", "internal/natsconn", "internal/natsd/natsdtest", "internal/wiring", "rule", "token"},
	"config":                    {"cluster", "engine", "internal/bearer", "internal/natsconn", "internal/origin", "internal/redact", "rule", "subjects", "token", "wire/msg"},
	"admin":                     {"internal/tally", "internal/throttle"},
	"web":                       {"internal/redact", "internal/request", "rule"},
	"web/tail":                  {},
	"internal/natsd":            {"config"},
	"internal/natsd/natsdtest":  {},
	"internal/natsd/proxytest":  {},
	"test/conformance/scripted": {"backend"},
	"test/deploy/worker":        {"backend"},
	"test/suites/application":   {"backend"},
	"test/suites/echo":          {"engine", "wire/eio"},
	"test/recovery/judge":       {},
	"test/stand":                {"internal/edgetest"},
	"test/hostile/bad":          {},
	"examples/chat":             {"backend"},
	"deploy/release":            {},
	"examples/one-file":         {"", "backend"},
	"examples/tokens":           {},
	"cmd/internal/tokens":       {"config", "rule", "token", "wire/msg"},
	"gateway/hook":              {"backend", "gateway/strict", "internal/tally", "internal/throttle", "subjects", "wire/msg"},
	"gateway":                   {"backend", "gateway/adminui", "gateway/api", "gateway/hook", "internal/tally", "internal/throttle", "subjects", "wire/msg"},
	"cmd/internal/program":      {"config", "internal/listen", "internal/logqueue", "internal/tally"},
	"cmd/internal/gateways":     {"admin", "cmd/internal/program", "config", "gateway", "gateway/adminui", "gateway/api", "gateway/hook", "internal/listen", "internal/natsconn", "internal/redact", "internal/tally", "internal/throttle"},
	"cmd/gateway":               {"cmd/internal/gateways"},
	"cmd/internal/node":         {"admin", "cmd/internal/program", "cmd/internal/tokens", "config", "engine", "internal/front", "internal/tally", "internal/throttle"},
	"cmd/edge":                  {"cmd/internal/node", "config"},
	"cmd/embedded":              {"cmd/internal/gateways", "cmd/internal/node", "config", "internal/natsd", "web/tail"},
}

// doors names the only packages that may import a heavy dependency.
var doors = map[string][]string{
	"github.com/agext/levenshtein":     {"config"},
	"github.com/gorilla/websocket":     {"engine", "engine/enginetest"},
	"github.com/nats-io/nats.go":       {"", "bus", "backend", "eventlog", "gateway", "cmd/internal/gateways", "internal/edgetest", "internal/natsconn", "internal/subscriptions", "test/conformance/scripted", "test/deploy/worker", "test/hostile/bad", "test/suites/application", "examples/chat", "web/tail"},
	"github.com/nats-io/nats.go/micro": {"cluster"}, // its types alone; the bus answers
	"github.com/golang-jwt/jwt":        {"examples/tokens", "token"},
	"github.com/MicahParks/jwkset":     {"token"},
	"github.com/nats-io/nkeys":         {"internal/natsconn"},
	"github.com/nats-io/nats-server":   {"internal/natsd", "internal/natsd/natsdtest"},
	"github.com/knadh/koanf":           {"config"},
	"github.com/go-json-experiment":    {"backend", "gateway/api", "gateway/hook", "gateway/strict"}, // encoding/json/v2 until the toolchain has it
	"github.com/spf13/pflag":           {"config"},
	"github.com/prometheus":            {"admin"},
	"go.yaml.in/yaml":                  {"config"},
	"github.com/KimMachineGun":         {"internal/front"},
	"golang.org/x/crypto":              {"gateway/adminui"},                                // bcrypt
	"golang.org/x/net":                 {"cluster", "internal/origin", "internal/request"}, // names of hosts in other alphabets, tokens of HTTP
	"golang.org/x/text":                {"internal/request"},                               // queries that are not UTF-8
	"golang.org/x/sys":                 {"test/hostile/bad"},                               // SCHED_IDLE
	"golang.org/x/term":                {"cmd/internal/gateways", "cmd/internal/program"},
	"golang.org/x/time":                {"cluster", "gateway/adminui", "internal/handshakes", "internal/pace", "internal/rates"},
	"go.uber.org/goleak":               {"internal/edgetest", "internal/natsd/proxytest", "test/stand"},
	"github.com/Shopify/toxiproxy":     {"internal/natsd/proxytest"},
	"github.com/rs/zerolog":            {"internal/natsd/proxytest"},
}

// stdOnly are packages that may import only the standard library, and the embedded files.
var stdOnly = []string{"wire/eio", "wire/jsontext", "wire/sio", "wire/msg", "wire/msgpack", "wire/recovery", "wire/ws", "subjects", "internal/flow", "internal/query", "edge/presence", "edge/registry", "rule", "internal/address", "internal/bearer", "internal/buffers", "internal/countdown", "internal/ids", "internal/liveness", "internal/members", "internal/memory", "internal/direct", "internal/fair", "internal/logqueue", "internal/permits", "internal/redact", "internal/share", "internal/snapshot", "internal/listen", "internal/tally", "internal/throttle", "internal/turn", "internal/wake", "web"}

func TestArrowsOnlyGoDown(t *testing.T) {
	for _, p := range packages(t) {
		module := p.Module.Path
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed, known := layers[name]
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		if !known {
			t.Errorf("package %s is not in the layout: add it to this test and to docs/architecture.md", name)
		}
		for _, imported := range p.Imports {
			inner, ours := strings.CutPrefix(imported, module)
			inner, ours = strings.TrimPrefix(inner, "/"), ours && (inner == "" || inner[0] == '/')
			switch {
			case ours && !slices.Contains(allowed, inner):
				t.Errorf("%s imports %s, which is not below it", name, inner)
			case !ours && strings.Contains(strings.SplitN(imported, "/", 2)[0], "."):
				door(t, name, imported)
			}
		}
	}
}

// door checks whether a package may import a dependency.
func door(t *testing.T, name, imported string) {
	t.Helper()
	if slices.Contains(stdOnly, name) {
		t.Errorf("%s imports %s, but it may import the standard library only", name, imported)
	}
	var known []string
	for dependency, allowed := range doors {
		if imported == dependency || strings.HasPrefix(imported, dependency+"/") {
			known = append(known, allowed...)
		}
	}
	if !slices.Contains(known, name) {
		t.Errorf("%s imports %s, whose only doors are %v: decide which package may", name, imported, known)
	}
}

type goPackage struct {
	ImportPath string
	Module     struct{ Path string }
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Module,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}
