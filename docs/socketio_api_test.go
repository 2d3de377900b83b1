package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheWholeAPI looks up every public name of the reference's type definitions in the tables.
func TestTheWholeAPI(t *testing.T) {
	for _, c := range []struct{ file, class, section string }{
		{"socket.io/dist/index.d.ts", "Server", "### Server and namespace"},
		{"socket.io/dist/namespace.d.ts", "Namespace", "### Server and namespace"},
		{"socket.io/dist/parent-namespace.d.ts", "ParentNamespace", "### Server and namespace"},
		{"socket.io/dist/socket.d.ts", "Socket", "### Socket"},
		{"socket.io/dist/broadcast-operator.d.ts", "BroadcastOperator", "### Targets"},
		{"socket.io/dist/broadcast-operator.d.ts", "RemoteSocket", "### Fetched sockets"},
		{"socket.io/dist/socket-types.d.ts", "SocketReservedEventsMap", "### Events of the server itself"},
		{"socket.io/dist/socket-types.d.ts", "EventEmitterReservedEventsMap", "### Events of the server itself"},
		{"socket.io/dist/namespace.d.ts", "NamespaceReservedEventsMap", "### Events of the server itself"},
		{"socket.io/dist/namespace.d.ts", "ServerReservedEventsMap", "### Events of the server itself"},
		{"socket.io/dist/index.d.ts", "ServerOptions", "### Options"},
		{"engine.io/build/server.d.ts", "ServerOptions", "### Options"},
		{"engine.io/build/server.d.ts", "AttachOptions", "### Options"},
		{"socket.io-adapter/dist/in-memory-adapter.d.ts", "Adapter", "### Adapter and engine"},
		{"engine.io/build/server.d.ts", "BaseServer", "### Adapter and engine"},
	} {
		text, err := os.ReadFile(filepath.Join(reference, c.file))
		if err != nil {
			t.Skip("LEFT OUT: the names of the reference's API: it is not there (`make test` installs it): ", err)
		}
		told := ""
		for _, r := range rowsOf(t, c.section) {
			told += r.cells[0]
		}
		names := members(t, string(text), c.class)
		for _, name := range names {
			if !regexp.MustCompile("\\b" + name + "\\b").MatchString(told) {
				t.Errorf("%s does not list %s.%s", api, c.class, name)
			}
		}
	}
}

var (
	comments = regexp.MustCompile(`(?s)/\*.*?\*/`)
	private  = regexp.MustCompile(`(?s)/\*\*(?:[^*]|\*[^/])*@private.*?\*/\s*[^\n]*`)
	member   = regexp.MustCompile(`(?m)^    (?:readonly |get |protected |static )*([a-zA-Z]\w*)\??[(:<]`)
)

// members are the public names of a class or an interface in type definitions.
func members(t *testing.T, definitions, class string) (names []string) {
	t.Helper()
	_, body, found := strings.Cut(definitions, "class "+class)
	if !found {
		if _, body, found = strings.Cut(definitions, "interface "+class); !found {
			t.Fatalf("there is no %s", class)
		}
	}
	body, _, _ = strings.Cut(body, "\n}")
	body = comments.ReplaceAllString(private.ReplaceAllString(body, ""), "")
	for _, m := range member.FindAllStringSubmatch(body, -1) {
		if m[1] != "constructor" && !strings.Contains(m[0], "private ") && !strings.Contains(m[0], "protected ") && !strings.Contains(m[0], "static ") {
			names = append(names, m[1])
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no members", class)
	}
	return names
}
