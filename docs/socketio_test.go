package docs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// The page that shows one server twice, and the page of tables.
const (
	migrate = "how-to/migrate.md"
	api     = "socket.io-api.md"
)

// reference is where `make test` installs the reference server.
const reference = "../test/conformance/node_modules"

// TestTheSameServerTwice plays one conversation with both programs of the page.
func TestTheSameServerTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	t.Run("Go", func(t *testing.T) {
		server := natsdtest.Start(t)
		n := chatEdge(t, server.ClientURL())
		beats, err := edgetest.Connect(t, server.ClientURL()).SubscribeSync("sio.$svc.chat.*.beat")
		if err != nil {
			t.Fatal(err)
		}
		start(t, compile(t, theBlock(t, migrate, "go")), "NATS_URL="+server.ClientURL())
		if _, err := beats.NextMsg(edgetest.Patience); err != nil { // the service has started
			t.Fatalf("the service does not start: %v", err)
		}
		converse(t, n.URL)
	})
	t.Run("JavaScript", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("LEFT OUT: the Socket.IO server of docs/" + migrate + ": install Node.js")
		}
		modules, err := filepath.Abs(reference)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(modules, "socket.io")); err != nil {
			t.Skip("LEFT OUT: the Socket.IO server of docs/"+migrate+": it is not there (`make test` installs it): ", err)
		}
		folder := t.TempDir()
		if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
			t.Fatal(err)
		}
		// Port 0 is a free one. The last line, which the test adds, prints it.
		script := theBlock(t, migrate, "js") + "\nio.httpServer.on('listening', () => console.log(io.httpServer.address().port));\n"
		writeFile(t, filepath.Join(folder, "server.mjs"), script)
		server := exec.CommandContext(t.Context(), node, "server.mjs")
		server.Dir, server.Env = folder, append(os.Environ(), "PORT=0")
		converse(t, "http://127.0.0.1:"+firstLine(t, server))
	})
}

// converse runs the conversation, with the frames that the clients must receive.
func converse(t *testing.T, url string) {
	t.Helper()
	const head = "/chat_room,"
	talk := enginetest.NewConversation(t)
	ann, bob := enginetest.Dial(t, talk, "ann", url, nil), enginetest.Dial(t, talk, "bob", url, nil)
	annID, bobID := ann.Connect("/chat_room", ""), bob.Connect("/chat_room", "")
	both := func(frame string) {
		t.Helper()
		ann.Expect(frame)
		bob.Expect(frame)
	}
	ann.Send("42" + head + `["message","hello"]`)
	both(fmt.Sprintf(`42%s["message",%q,"hello"]`, head, annID))
	ann.Send(fmt.Sprintf(`42%s["direct",%q,"psst"]`, head, bobID))
	bob.Expect(fmt.Sprintf(`42%s["direct",%q,"psst"]`, head, annID))
	bob.Send("42" + head + `["typing"]`)
	ann.Expect(fmt.Sprintf(`42%s["typing",%q]`, head, bobID))
	ann.Send("42" + head + `7["sum",1,2]`)
	ann.Expect("43" + head + `7[3]`)
	bob.Send("42" + head + `["leave"]`)
	bob.Send("42" + head + `8["sum",3,4]`) // after the previous frame
	bob.Expect("43" + head + `8[7]`)
	bob.Send("42" + head + `["message","I hear nothing"]`)
	ann.Expect(fmt.Sprintf(`42%s["message",%q,"I hear nothing"]`, head, bobID))
	bob.Send("41" + head)
	ann.Expect(fmt.Sprintf(`42%s["gone",%q,"client namespace disconnect"]`, head, bobID))
	if ann.Pending()+bob.Pending() > 0 {
		t.Error("a client received more")
	}
}

func chatEdge(t *testing.T, url string) *edgetest.Node {
	t.Helper()
	return edgetest.Start(t, edgetest.Options{NATS: url, Namespaces: map[string]rule.Namespace{
		"/chat_room": {Connect: rule.ConnectService, ConnectTimeout: edgetest.Patience},
	}}).Ready()
}

// compile builds a program from a text that is not in the module, and returns its path.
func compile(t *testing.T, program string) string {
	t.Helper()
	folder := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(folder, "main.go")
	writeFile(t, source, program)
	overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "docs", "program", "main.go"): source}})
	writeFile(t, filepath.Join(folder, "overlay.json"), string(overlay))
	build := exec.Command("go", "build", "-overlay", filepath.Join(folder, "overlay.json"), "-o", filepath.Join(folder, "program"), "./docs/program")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, output, program)
	}
	return filepath.Join(folder, "program")
}

// start runs a program until the test ends. Then it must end without an error.
func start(t *testing.T, program string, environment ...string) {
	t.Helper()
	var output bytes.Buffer
	command := exec.Command(program)
	command.Env, command.Stdout, command.Stderr = append(os.Environ(), environment...), &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		if err := command.Wait(); err != nil || t.Failed() {
			t.Errorf("the program ended with %v and said:\n%s", err, output.String())
		}
	})
}

// row is one row of a table of the page: its cells, without the outer bars.
type row struct {
	cells []string
	line  string
}

var span = regexp.MustCompile("`([^`]+)`")

// spans returns the code spans of a cell.
func spans(cell string) (found []string) {
	for _, m := range span.FindAllStringSubmatch(cell, -1) {
		found = append(found, m[1])
	}
	return found
}

// rowsOf returns the rows of the tables below a heading, down to the next heading of the same rank.
func rowsOf(t *testing.T, heading string) (rows []row) {
	t.Helper()
	_, text, found := strings.Cut(read(t, api), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no %q", api, heading)
	}
	rank := strings.Fields(heading)[0]
	text, _, _ = strings.Cut(text, "\n"+rank+" ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Socket.IO ") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			rows = append(rows, row{cells, line})
		}
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table below %q", api, heading)
	}
	return rows
}

// statement makes a Go statement of a code span. A call stays as it is; the value of another expression is discarded.
func statement(t *testing.T, text string) string {
	t.Helper()
	expression, err := parser.ParseExpr(text)
	if err != nil {
		t.Errorf("`%s` is no Go: %v", text, err)
	}
	if _, isCall := expression.(*ast.CallExpr); isCall {
		return text
	}
	return "_ = " + text
}

// TestGoInTheTables compiles all calls in the second column of the tables.
func TestGoInTheTables(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	var body strings.Builder
	for _, r := range append(rowsOf(t, "## Line by line"), rowsOf(t, "## The whole API")...) {
		for _, text := range spans(r.cells[1]) {
			if strings.Contains(text, "(") {
				fmt.Fprintf(&body, "\t%s\n", statement(t, text))
			}
		}
	}
	compile(t, `package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

func main() {}

func everything(ctx context.Context, nc *nats.Conn, io *backend.Service, chat *backend.Namespace, socket *backend.Socket,
	target backend.Target, id string, args []any, auth, data struct{}, handler func(), hook func(*backend.HandlerError),
	admit func(*backend.Socket) error, welcome func(*backend.Socket), bye func(*backend.Socket, string), byeOfOne func(string),
	each func(*backend.Socket, string, backend.Args), eachOfOne func(string, backend.Args),
	check func(*backend.Packet) error, checkAll func(*backend.Socket, *backend.Packet) error) {
	socketID := id
`+body.String()+"\t_ = time.Second\n}\n")
}

// TestLineByLine runs the second column of the first table, and checks that the messages on NATS are those in the
// third.
func TestLineByLine(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	var body strings.Builder
	var rows []row
	for _, r := range rowsOf(t, "## Line by line") {
		if !strings.Contains(r.cells[2], "`sio.chat_room.") || strings.Contains(r.cells[2], "sio.chat_room.on.") {
			continue // it is about incoming messages
		}
		rows = append(rows, r)
		fmt.Fprintf(&body, "\tmark(%d)\n\t%s\n", len(rows)-1, statement(t, spans(r.cells[1])[0]))
	}
	program := compile(t, `package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

func main() {
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	io, err := backend.New(nc, "chat")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	chat, socketID := io.Of("/chat_room"), os.Getenv("SOCKET")
	socket := chat.Socket(socketID)
	mark := func(row int) { _ = nc.Publish("row", []byte(strconv.Itoa(row))) }
`+body.String()+"\tmark(-1)\n\t_ = nc.Flush()\n}\n")

	server := natsdtest.Start(t)
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL()}).Ready()
	ann := n.Dial("ann")
	id := ann.Connect("/chat_room", "")
	acking := make(chan struct{})
	go func() {
		defer close(acking)
		for frame, ok := ann.Await(); ok; frame, ok = ann.Await() {
			if number, _, isAsked := strings.Cut(strings.TrimPrefix(frame, "42/chat_room,"), `["ready?"`); isAsked {
				ann.Send("43/chat_room," + number + "[]")
			}
		}
	}()
	heard := make(chan *nats.Msg, 1000)
	nc := edgetest.Connect(t, server.ClientURL())
	for _, subject := range []string{"row", "sio.chat_room.>"} {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program)
	command.Env = append(os.Environ(), "NATS_URL="+server.ClientURL(), "SOCKET="+id)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	ann.Hangup()
	<-acking
	for i, cells := range byRow(t, heard, len(rows)) {
		if want := strings.ReplaceAll(strings.TrimSpace(rows[i].cells[2]), "$ID", id); !slices.Contains(cells, want) {
			t.Errorf("for%s\n%s\nwas received, want\n%s", rows[i].cells[1], strings.Join(cells, "\n"), want)
		}
	}
}

// byRow sorts the received messages by the marks in them, as cells of the table.
func byRow(t *testing.T, heard chan *nats.Msg, rows int) [][]string {
	t.Helper()
	sorted := make([][]string, rows)
	for at := -1; ; {
		select {
		case m := <-heard:
			if m.Subject != "row" {
				sorted[at] = append(sorted[at], asCell(m))
			} else if _, err := fmt.Sscan(string(m.Data), &at); err != nil || at < 0 {
				return sorted
			}
		case <-time.After(edgetest.Patience):
			t.Fatalf("nothing more is received after row %d", at)
		}
	}
}

// asCell formats a message as the table does: subject, body, headers, and the reply subject if it is a client's
// address.
func asCell(m *nats.Msg) string {
	cell := "`" + m.Subject + "`"
	if len(m.Data) > 0 {
		cell += " `" + string(m.Data) + "`"
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		for _, value := range m.Header[name] {
			if name != "Sio-From" { // it changes from one start to the next
				cell += " `" + name + ": " + value + "`"
			}
		}
	}
	if strings.HasPrefix(m.Reply, "sio.") {
		cell += " reply `" + m.Reply + "`"
	}
	return cell
}

// firstLine starts a program until the test ends, and returns the first line that it prints.
func firstLine(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	late := time.AfterFunc(3*edgetest.Patience, func() { _ = command.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s prints nothing: %v", command, err)
	}
	return strings.TrimSpace(line)
}
