package docs_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// TestNamesTable looks up every row of the contract's table of names in the file of cases.
func TestNamesTable(t *testing.T) {
	text, err := os.ReadFile("../subjects/testdata/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Kind          string
		Name, Subject string
		Error         bool
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (namespace|event|room) \\| `(.*?)` \\| `(.*?)` \\|").FindAllStringSubmatch(read(t, "subjects.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		found := false
		for _, c := range cases {
			found = found || !c.Error && c.Kind == row[1] && c.Name == row[2] && c.Subject == row[3]
		}
		if !found {
			t.Errorf("names.json has no case %s %q → %q", row[1], row[2], row[3])
		}
	}
}

// TestErrorTexts provokes the errors that the contract lists, and checks that the contract lists all errors that
// occur.
func TestErrorTexts(t *testing.T) {
	server := natsdtest.Start(t)
	open := edgetest.Open()
	chat := open["*"]
	chat.UserRoom = "user:"
	open["/chat"] = chat
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: open}).Ready()
	nc := edgetest.Connect(t, server.ClientURL())
	id := n.Dial("ann").Connect("/chat", "")
	section := section(t, "subjects.md", "## Errors")
	told := map[string]bool{}
	rooms := make([]string, 1001)
	for i := range rooms {
		rooms[i] = fmt.Sprint(i)
	}
	many, _ := json.Marshal(rooms)
	for _, c := range []struct{ subject, body string }{
		{"join.socket.k3f9a0zz.AAAAAAAAAAAAAAAAAAA1", `["a"]`},
		{"join.socket." + id, string(many)},
		{"join.socket." + id, `["k3f9a0zz.AAAAAAAAAAAAAAAAAAA1"]`},
		{"leave.socket." + id, `["` + strings.Repeat("a", 513) + `"]`},
		{"join.all", `["a` + strings.Repeat(".a", 16) + `"]`},
		{"join.all", "[\"\xff\"]"},
		{"join.all", ""},
		{"disconnect.all", "{}"},
		{"leave.room.x", "[]"},
		{"join.all", `["a",1]`},
		{"join.all", `["\ud800"]`},
		{"disconnect.all", `[1]`},
		{"ask.socket." + id, `["x"]`}, // she does not answer
		{"ask.all", `x`},
		{"ask.room.x", `["x"]`},
		{"data.all", `[{"x":"` + strings.Repeat("x", 65537-8) + `"}]`},
		{"data.all", `["x",1]`},
		{"fetch.all", `["x"]`},
		{"pause.socket." + id, `["a","b"]`},
		{"resume.socket." + id, `["a b"]`},
		{"pause.socket." + id, `["a65"]`}, // the limit is 64
		{"ack." + id + ".connect", `[]`},
		{"grant.all", `[{"join":"a"}]`},
		{"grant.socket." + id, `[{"rooms":["user:eve"]}]`},
		{"grant.socket." + id, `[{"user":"` + strings.Repeat("a", 508) + `"}]`},
	} {
		subject := "sio.chat." + c.subject
		if strings.HasSuffix(c.subject, "AAA1") { // only its own edge answers
			subject = strings.Replace(subject, "k3f9a0zz", n.ID, 1)
		}
		m := &nats.Msg{Subject: subject, Data: []byte(c.body)}
		switch {
		case strings.HasPrefix(c.subject, "pause.socket."):
			for i := range 64 {
				_ = nc.Publish(subject, fmt.Appendf(nil, `["a%d"]`, i))
			}
		case strings.HasPrefix(c.subject, "ask.socket."):
			m.Header = nats.Header{"Sio-Timeout": {"1"}}
		case strings.HasPrefix(c.subject, "ask.room."):
			m.Header = nats.Header{"Sio-Timeout": {"soon"}}
		}
		answer, err := nc.RequestMsg(m, edgetest.Patience)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		got := answer.Header.Get("Sio-Error")
		if got == "" || !strings.Contains(section, "| `"+got+"` |") {
			t.Errorf("%s %.40s: the contract does not list %q", subject, c.body, got)
		}
		told[got] = true
	}
	// The first two take hundreds of thousands of messages: see edge/ask_test.go. The third takes a service that
	// admits: see test/23_admission_answers_test.go. The fourth takes a namespace with recovery and no JetStream.
	for _, text := range []string{"too many asks under way", "too many questions under way", "invalid answer", "not recorded"} {
		if !strings.Contains(section, "| `"+text+"` |") {
			t.Errorf("the contract does not list %q", text)
		}
		told[text] = true
	}
	if rows := strings.Count(section, "\n| `"); rows != len(told) {
		t.Errorf("the contract lists %d errors, %d were provoked", rows, len(told))
	}
}

// TestReasonsTable looks up every reason of a disconnect.
func TestReasonsTable(t *testing.T) {
	notices := section(t, "subjects.md", "## Disconnect notices")
	for reason := engine.Reason(0); reason.String() != "unknown"; reason++ {
		if !strings.Contains(notices, "| `"+reason.String()+"` |") {
			t.Errorf("the contract does not list the reason %q", reason)
		}
	}
}

// section returns the part of a document from a heading to the next one of its rank.
func section(t *testing.T, name, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(read(t, name), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no %q", name, heading)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// TestPermissions runs NATS with the users in the contract. Each can do its work, and nothing more.
func TestPermissions(t *testing.T) {
	server := natsdtest.Start(t, theBlock(t, "subjects.md", "conf"))
	as := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"-secret@", 1)
	}
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	n := edgetest.Start(t, edgetest.Options{NATS: as("edge"), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, Rooms: []string{"*"}, Relay: []rule.Relay{{Event: "shout", To: rule.ToAll, Self: true}}},
	}}).Ready()
	chat := edgetest.Connect(t, as("chat"), nats.CustomInboxPrefix("_INBOX.chat"), quiet)
	news := edgetest.Connect(t, as("news"), quiet)

	for event, answer := range map[string]string{"connect": `[{"rooms":["news"]}]`, "sum": `[3]`} {
		if _, err := chat.QueueSubscribe("sio.chat.on."+event, "chat", func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := chat.Flush(); err != nil {
		t.Fatal(err)
	}
	ann := n.Dial("ann")
	id := ann.Connect("/chat", "")
	ann.Send(`42/chat,0["sum",1,2]`)
	ann.Expect(`43/chat,0[3]`)
	ann.Send(`42/chat,1["join","mine"]`)
	ann.Expect(`43/chat,1[{"ok":true}]`)
	ann.Send(`42/chat,["shout","hey"]`)
	ann.Expect(`42/chat,["shout","hey"]`)
	answer, err := chat.Request("sio.chat.join.socket."+id, []byte(`["vip"]`), edgetest.Patience)
	if want := `[{"edge":"` + n.ID + `","sockets":1}]`; err != nil || string(answer.Data) != want {
		t.Fatalf("join: %v %v", answer, err)
	}
	if err := chat.Publish("sio.chat.emit.room.vip", []byte(`["vip"]`)); err != nil {
		t.Fatal(err)
	}
	ann.Expect(`42/chat,["vip"]`)
	if err := news.Publish("sio.chat.emit.room.news", []byte(`["headline"]`)); err != nil {
		t.Fatal(err)
	}
	ann.Expect(`42/chat,["headline"]`)
	for _, m := range n.Bus.Metrics().Metrics() {
		if m.Name == "nats_errors_total" && m.Read() != 0 {
			t.Errorf("NATS refused the edge %g things", m.Read())
		}
	}

	for _, c := range []struct{ user, verb, subject string }{
		{"edge", "publish", "sio.chat.join.all"},
		{"edge", "subscribe", "sio.chat.on.>"},
		{"chat", "publish", "sio.lobby.emit.all"},
		{"chat", "publish", "sio.$edge.x"},
		{"chat", "subscribe", "sio.lobby.on.>"},
		{"chat", "subscribe", "_INBOX.>"},
		{"news", "publish", "sio.chat.emit.socket." + id},
		{"news", "publish", "sio.chat.emit.all"},
		{"news", "publish", "sio.chat.join.room.news"},
		{"news", "subscribe", "sio.chat.on.>"},
	} {
		nc := edgetest.Connect(t, as(c.user), quiet)
		if c.verb == "publish" {
			err = nc.Publish(c.subject, []byte(`["forbidden"]`))
		} else {
			_, err = nc.SubscribeSync(c.subject)
		}
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		edgetest.Eventually(t, c.user+" may not "+c.verb+" "+c.subject, func() bool {
			err := nc.LastError()
			return err != nil && strings.Contains(strings.ToLower(err.Error()), "permissions violation")
		})
	}
	if ann.Pending() != 0 {
		t.Errorf("a forbidden message was delivered: %s", ann.Next())
	}
}

// nodeModules is where `make test` installs the packages of the JavaScript tests.
const nodeModules = "../test/node/node_modules"

// withModules makes a folder in which the packages of the JavaScript tests can be imported, and finds Node.js.
func withModules(t *testing.T) (folder, node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("LEFT OUT: services in Node.js: install Node.js")
	}
	modules, err := filepath.Abs(nodeModules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@nats-io/transport-node")); err != nil {
		t.Skip("LEFT OUT: services in Node.js: its packages are not there (`make test` installs them): ", err)
	}
	folder = t.TempDir()
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return folder, node
}

// TestNodeExample runs the Node.js service in the contract.
func TestNodeExample(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	folder, node := withModules(t)
	writeFile(t, filepath.Join(folder, "service.mjs"), theBlock(t, "subjects.md", "js"))
	server := natsdtest.Start(t, "jetstream { store_dir: "+strconv.Quote(t.TempDir())+" }")
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: exampleNamespaces(t)}).Ready()

	service := exec.CommandContext(t.Context(), node, "service.mjs")
	service.Dir, service.Env, service.Stderr = folder, append(os.Environ(), "NATS_URL="+server.ClientURL()), os.Stderr
	out, err := service.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	late := time.AfterFunc(3*edgetest.Patience, func() { _ = service.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the service says %q, %v", line, err)
	}

	eve, ann, bob := n.Dial("eve"), n.Dial("ann"), n.Dial("bob")
	eve.Send(`40/chat,{"token":"guess"}`)
	eve.Expect(`44/chat,{"message":"wrong token"}`)
	ann.Connect("/chat", `{"token":"open sesame","name":"ann"}`)
	bob.Connect("/chat", `{"token":"open sesame"}`)
	ann.Send(`42/chat,7["sum",1,2]`)
	ann.Expect(`43/chat,7[3]`)
	ann.Send(`42/chat,["say","hello"]`)
	ann.Expect(`42/chat,["said","ann","hello"]`)
	bob.Expect(`42/chat,["said","ann","hello"]`)
	bob.Send(`42/chat,["say","hi"]`)
	ann.Expect(`42/chat,["said","somebody","hi"]`)
}

// greeterGo and greeterJS are what the README leaves out around its services.
const (
	greeterGo = `package main

import (
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		panic(err)
	}
	%s
	select {}
}
`
	greeterJS = `import { connect } from "@nats-io/transport-node";

const nc = await connect({ servers: process.env.NATS_URL });
%s`
)

// TestTheServiceInGo runs the service in Go in the README.
func TestTheServiceInGo(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "main.go"), fmt.Sprintf(greeterGo, theBlock(t, "../README.md", "go")))
	program := filepath.Join(folder, "service")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, filepath.Join(folder, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	greets(t, exec.CommandContext(t.Context(), program))
}

// TestTheServiceInJavaScript runs that in JavaScript.
func TestTheServiceInJavaScript(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	folder, node := withModules(t)
	writeFile(t, filepath.Join(folder, "service.mjs"), fmt.Sprintf(greeterJS, theBlock(t, "../README.md", "js")))
	service := exec.CommandContext(t.Context(), node, "service.mjs")
	service.Dir = folder
	greets(t, service)
}

// greets runs a service of the README and talks to it.
func greets(t *testing.T, service *exec.Cmd) {
	t.Helper()
	server := natsdtest.Start(t)
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL()}).Ready()
	service.Env = append(os.Environ(), "NATS_URL="+server.ClientURL())
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	nc := edgetest.Connect(t, server.ClientURL())
	edgetest.Eventually(t, "the service listens", func() bool {
		_, err := nc.Request("sio.chat_room.on.greet", []byte(`["greet","nobody"]`), 50*time.Millisecond)
		return err == nil
	})

	ann, bob := n.Dial("ann"), n.Dial("bob")
	ann.Connect("/chat_room", "")
	bob.Connect("/chat_room", "")
	ann.Send(`42/chat_room,5["greet","Ann"]`)
	ann.Expect(`43/chat_room,5["Hello, Ann"]`)
	bob.Expect(`42/chat_room,["message","Ann is here"]`)
	if ann.Pending() != 0 {
		t.Errorf("ann receives her own event: %s", ann.Next())
	}
}
