package docs_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"partyline/config"
	"partyline/gateway"
	httpapi "partyline/gateway/api"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

const httpExamples = "../examples/http"

// document is what the tables of the HTTP API show of its OpenAPI document.
type document struct {
	Paths      map[string]map[string]struct{ Summary, Description string }
	Components struct {
		Schemas map[string]struct {
			Required   []string
			Properties map[string]struct {
				Description string
				OneOf       []struct {
					Const, Description string
					Status             int `json:"x-status"`
				}
			}
		}
	}
}

// TestTablesOfTheHTTPAPI compares the tables of operations and problems with the OpenAPI document, which another test
// holds against the handlers.
func TestTablesOfTheHTTPAPI(t *testing.T) {
	var d document
	if err := json.Unmarshal(httpapi.Document, &d); err != nil {
		t.Fatal(err)
	}
	table := "| Request | Further members | What it does |\n|---|---|---|\n"
	for _, verb := range []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data", "batch", "sockets", "rooms"} {
		for method, op := range d.Paths["/v1/"+verb] {
			schema, members := d.Components.Schemas[strings.ToUpper(verb[:1])+verb[1:]+"Members"], []string{}
			for name := range schema.Properties {
				if !slices.Contains([]string{"namespace", "to", "except"}, name) {
					text := "`" + name + "`"
					if !slices.Contains(schema.Required, name) {
						text += " (optional)"
					}
					members = append(members, text)
				}
			}
			slices.Sort(members)
			table += fmt.Sprintf("| `%s /v1/%s` | %s | %s. %s |\n", strings.ToUpper(method), verb, strings.Join(members, ", "), op.Summary, op.Description)
		}
	}
	compareTable(t, "http-api.md", "operations", table)
	table = "| `type` | Status | What to do |\n|---|---|---|\n"
	for _, p := range d.Components.Schemas["Problem"].Properties["type"].OneOf {
		table += fmt.Sprintf("| `%s` | %d | %s |\n", strings.TrimPrefix(p.Const, "urn:partyline:problem:"), p.Status, p.Description)
	}
	compareTable(t, "http-api.md", "problems", table)
}

// theGateway runs a gateway beside an edge, and returns its address. Its key may do everything.
func theGateway(t *testing.T, nats, key string, hooks ...hook.Hook) string {
	t.Helper()
	g, err := gateway.New(edgetest.Connect(t, nats), gateway.Options{
		Prefix: "sio", Group: "gateway", UserRoom: "user:", Log: slog.New(slog.DiscardHandler), Hooks: hooks,
		Keys: []httpapi.Key{{
			Name: "all", Hash: httpapi.HashKey(key), Namespaces: []string{"*"}, Rooms: []string{"*"}, May: []string{"all", "socket", "user", "read"},
			Verbs: []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, g)
	server := httptest.NewServer(g.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

var (
	receives = regexp.MustCompile(`^# ann receives (\[.*?\])(?: and acks (.*))?$`)
	ackID    = regexp.MustCompile(`^42/chat,(\d+)\[`)
)

// TestCurlExamples runs the blocks with curl: # begins what it prints, or what the client receives meanwhile.
func TestCurlExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("LEFT OUT: the examples with curl: install curl")
	}
	server := natsdtest.Start(t)
	key := httpapi.NewKey()
	address := theGateway(t, server.ClientURL(), key)
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "key"), key+"\n")
	for _, page := range []string{"http-api.md", "how-to/http.md"} {
		found := 0
		indented := regexp.MustCompile(`(?m)^   `).ReplaceAllString(read(t, page), "")
		for _, match := range fence.FindAllStringSubmatch(indented, -1) {
			if match[1] != "sh" || !strings.Contains(match[2], "curl") {
				continue
			}
			found++
			edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
				"/chat": {Connect: rule.ConnectOpen, AutoJoin: []string{"news"}},
			}}).Ready()
			runCurl(t, edge, match[2], folder, "GATEWAY="+address, "KEY="+key)
			edge.Stop()
		}
		if found == 0 {
			t.Errorf("%s has no block with curl", page)
		}
	}
}

// runCurl runs a block.
func runCurl(t *testing.T, edge *edgetest.Node, block, folder string, variables ...string) {
	t.Helper()
	ann := edge.Enter("ann", "/chat")
	command := exec.Command("bash", "-e", "-c", block)
	var printed, failed bytes.Buffer
	command.Dir, command.Env, command.Stdout, command.Stderr = folder, append(os.Environ(), variables...), &printed, &failed
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	want := "^"
	for line := range strings.Lines(block) {
		line = strings.TrimSpace(line)
		if event := receives.FindStringSubmatch(line); event != nil {
			got := ann.Next()
			if !strings.HasSuffix(got, event[1]) {
				t.Errorf("ann got %s, want %s", got, event[1])
			}
			if id := ackID.FindStringSubmatch(got); event[2] != "" && id != nil {
				ann.Acks(id[1], event[2])
			}
		} else if text, ok := strings.CutPrefix(line, "# "); ok {
			text = strings.ReplaceAll(text, "$ANN", ann.ID)
			want += strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*")
		}
	}
	if err := command.Wait(); err != nil || !regexp.MustCompile(want+"$").MatchString(printed.String()) {
		t.Errorf("%v: the block\n%s\nprints %s%s", err, block, &printed, &failed)
	}
}

// TestHTTPExamples runs examples/http: the hook decides about clients and passes on their messages, and each program
// publishes. No NATS client is there but the gateway.
func TestHTTPExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts programs")
	}
	secret := "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "hook-secrets")
	writeFile(t, file, "whsec_"+base64.StdEncoding.EncodeToString([]byte(secret))+"\n")
	at := startHook(t, file, "hook.py")
	configured := filepath.Join(t.TempDir(), "partyline.yaml")
	writeFile(t, configured, strings.Replace(read(t, filepath.Join(httpExamples, "partyline.yaml")), ".cache/example-http/hook-secrets", file, 1))
	loaded, err := config.Load(config.FlavourEmbedded, []string{"--config=" + configured}, nil)
	if err != nil {
		t.Fatal(err)
	}
	server, key, h := natsdtest.Start(t), httpapi.NewKey(), loaded.Config.Hooks[0]
	edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: loaded.Config.Namespaces}).Ready()
	address := theGateway(t, server.ClientURL(), key, hook.Hook{
		Namespaces: h.Namespaces, Events: h.Events, URLs: []string{at}, Secrets: h.Secrets, Timeout: edgetest.Patience, Concurrency: h.Concurrency,
	})
	mallory := edge.Dial("mallory")
	mallory.Send(`40/chat_room,{"name":"mallory"}`)
	mallory.Expect(`44/chat_room,{"message":"not you"}`)
	ann, bob := edgetest.Enter(edge.Dial("ann"), "/chat_room", `{"name":"ann"}`), edgetest.Enter(edge.Dial("bob"), "/chat_room", "")
	for _, so := range []*edgetest.Socket{ann, bob} {
		so.Emit("1", `["join","room"]`)
		so.Acked("1", `[{"ok":true}]`)
	}
	for event, room := range map[string]string{"message": `,"room":"room"`, "everyone": ""} {
		ann.Emit("2", `["`+event+`","hello",{"name":"Ann"`+room+`}]`)
		bob.Gets(`["` + event + `","hello",{"name":"Ann"` + room + `}]`)
		ann.Acked("2", `["delivered"]`) // and not the message
	}
	ann.Emit("", `["direct","`+bob.ID+`","psst"]`)
	bob.Gets(`["direct","` + bob.ID + `","psst"]`)
	for _, program := range [][]string{{"sh", "publish.sh"}, {"python3", "publish.py"}, {"php", "publish.php"}, {"ruby", "publish.rb"}} {
		t.Run(program[0], func(t *testing.T) {
			if _, err := exec.LookPath(program[0]); err != nil {
				t.Skip("LEFT OUT: examples/http in " + program[0] + ": install it")
			}
			run := func(key string) error {
				command := exec.Command(program[0], append(program[1:], "room", "from "+program[0])...)
				command.Dir, command.Env = httpExamples, append(os.Environ(), "GATEWAY="+address, "GATEWAY_KEY="+key)
				output, err := command.CombinedOutput()
				edge.Talk.Note("%s: %s", program[0], output)
				return err
			}
			if err := run(key); err != nil {
				t.Fatal(err)
			}
			bob.Gets(`["message","from ` + program[0] + `"]`)
			if run("wrong") == nil {
				t.Error("it does not fail with a wrong key")
			}
		})
	}
}
