package docs_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"partyline/internal/natsd/natsdtest"
	"partyline/test/stand"
)

// What stands around the code of the page that moves one namespace after the other.
const (
	oldServer = `import { Server } from "socket.io";
import { connect } from "@nats-io/transport-node";

const old = new Server(0);
old.of("/chat").on("connection", (socket) => socket.join("room.1"));
old.of("/news").on("connection", (socket) => socket.emit("news", "old"));
old.httpServer.on("listening", () => console.log(old.httpServer.address().port));
const nc = await connect({ servers: process.env.NATS_URL });
%s`
	newServer = `import { createServer } from "node:http";
import { Server } from "partyline";

const httpServer = createServer();
%s
io.of("/chat").on("connection", (socket) => {
  socket.join("room.1");
  socket.on("say", (text) => io.of("/chat").to("room.1").emit("said", text));
});
httpServer.listen(0, () => console.log("up"));
`
	twoPages = `import { io } from "socket.io-client";

const at = (namespace, path) => io(process.env.URL + namespace, path ? { path } : {});
const heard = (socket, event) => new Promise((done) => socket.on(event, done));
const old = { chat: at("/chat"), news: at("/news") };
await Promise.all([heard(old.chat, "connect"), heard(old.news, "news")]);
const chat = at("/chat", process.env.MOVED);
await heard(chat, "connect");
const both = Promise.all([heard(old.chat, "said"), heard(chat, "said")]);
chat.emit("say", "hello");
console.log(JSON.stringify(await both));
for (const socket of [old.chat, old.news, chat]) socket.close();
`
)

// TestNamespaceByNamespace plays the move of one namespace: behind one nginx, an old server has the other one, and pages
// of both generations hear each other.
func TestNamespaceByNamespace(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("LEFT OUT: the move of one namespace in docs/" + migrate + ": install nginx")
	}
	folder := packed(t)
	for name, from := range map[string]string{"socket.io": reference, "@nats-io": nodeModules, "socket.io-client": nodeModules} {
		installed, err := filepath.Abs(filepath.Join(from, name))
		if err == nil {
			_, err = os.Stat(installed)
		}
		if err != nil {
			t.Skip("LEFT OUT: the move of one namespace in docs/"+migrate+": its packages are not there (`make test` installs them): ", err)
		}
		if err := os.Symlink(installed, filepath.Join(folder, "node_modules", name)); err != nil {
			t.Fatal(err)
		}
	}
	code := blocks(t, migrate, "mjs")
	if len(code) != 2 {
		t.Fatalf("%s has %d blocks of mjs, want the new program's and the old one's", migrate, len(code))
	}
	nats := natsdtest.Start(t).ClientURL()
	edge := stand.StartEdge(t, "edge", "--nats.url", nats, "--path", "/live/", "--config", configOf(t, `namespaces: {"/chat": {connect: service}}`))
	run := func(name, text string, environment ...string) string {
		writeFile(t, filepath.Join(folder, name), text)
		program := exec.CommandContext(t.Context(), "node", name)
		program.Dir, program.Env = folder, append(append(os.Environ(), "NATS_URL="+nats), environment...)
		return firstLine(t, program)
	}
	port := run("old.mjs", fmt.Sprintf(oldServer, code[1].text))
	run("new.mjs", fmt.Sprintf(newServer, code[0].text))
	split, last := "", ""
	for line := range strings.Lines(theBlock(t, migrate, "nginx")) {
		split += whole(t, line)
		if strings.Contains(line, "/live/") {
			last += whole(t, line)
		}
	}
	last += whole(t, "location /socket.io/ { proxy_pass http://edges/live/; }\n")
	split = strings.ReplaceAll(split, "http://old", "http://127.0.0.1:"+port)
	for name, example := range map[string]string{"one has moved": split, "all have": last} {
		host, _ := startProxy(t, nginx, example, false, edge.Address)
		url := "URL=http://" + strings.Replace(host, "localhost", "127.0.0.1", 1)
		if name == "all have" {
			script := strings.NewReplacer(`, heard(old.news, "news")`, "", `news: at("/news")`, "news: { close() {} }").Replace(twoPages)
			if got := run("pages.mjs", script, url, "MOVED="); got != `["hello","hello"]` {
				t.Errorf("%s: the pages hear %s", name, got)
			}
		} else if got := run("pages.mjs", twoPages, url, "MOVED=/live/"); got != `["hello","hello"]` {
			t.Errorf("%s: the pages hear %s", name, got)
		}
	}
}

// whole is a line of the page's nginx example with the headers of the whole example.
func whole(t *testing.T, line string) string {
	t.Helper()
	headers := ""
	for s := bufio.NewScanner(strings.NewReader(blocks(t, deploy, "nginx")[0].text)); s.Scan(); {
		if text := strings.TrimSpace(s.Text()); strings.HasPrefix(text, "proxy_") && !strings.HasPrefix(text, "proxy_pass ") {
			headers += "  " + text + "\n"
		}
	}
	return strings.Replace(line, "; }", ";\n"+headers+"}", 1)
}

// configOf writes a configuration, and returns its file.
func configOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "partyline.yaml")
	writeFile(t, file, text)
	return file
}
