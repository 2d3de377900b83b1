package docs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"partyline/config"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

const (
	authenticate = "how-to/authenticate.md"
	tokenMakers  = "../examples/tokens"
)

// TestThePartsOfPrograms checks that the functions on the page are those of the programs, which the other test runs.
func TestThePartsOfPrograms(t *testing.T) {
	for language, file := range map[string]string{"js": "make_token.mjs", "python": "make_token.py", "php": "make_token.php", "go": "main.go"} {
		program, found := read(t, filepath.Join(tokenMakers, file)), 0
		for _, b := range blocks(t, authenticate, language) {
			if strings.Contains(b.text, "hmac") || strings.Contains(b.text, "claims") {
				found++
				for part := range strings.SplitSeq(b.text, "\n\n") {
					if !strings.Contains(program, strings.TrimSpace(part)) {
						t.Errorf("%s:%d: %s has no such part:\n%s", authenticate, b.line, file, part)
					}
				}
			}
		}
		if found == 0 {
			t.Errorf("%s has no part of %s", authenticate, file)
		}
	}
}

// maker is how a program that makes tokens is run.
type maker struct {
	name    string
	command []string
	left    string // why it cannot be run with an RSA key
}

// makers returns the programs that can run here. What is missing is left out.
func makers(t *testing.T) (found []maker) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tokens")
	if output, err := exec.Command("go", "build", "-o", program, tokenMakers).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	found = []maker{{name: "Go", command: []string{program}}}
	for _, m := range []maker{{"Node.js", []string{"node", "make_token.mjs"}, ""}, {"PHP", []string{"php", "make_token.php"}, ""}} {
		if _, err := exec.LookPath(m.command[0]); err != nil {
			t.Run(m.name, func(t *testing.T) { t.Skip("LEFT OUT: examples/tokens in " + m.name + ": install " + m.command[0]) })
			continue
		}
		found = append(found, m)
	}
	python := maker{name: "Python", left: "LEFT OUT: examples/tokens in Python with an RSA key: install PyJWT and cryptography"}
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		complete := exec.Command(path, "-c", "import jwt, cryptography").Run() == nil
		if complete {
			python.left = ""
		}
		if complete || python.command == nil {
			python.command = []string{path, "make_token.py"}
		}
	}
	if python.command == nil {
		t.Run("Python", func(t *testing.T) { t.Skip("LEFT OUT: examples/tokens in Python: install python3") })
		return found
	}
	return append(found, python)
}

// prints runs a program with a variable and an argument.
func (m maker) prints(t *testing.T, variable, argument string) string {
	t.Helper()
	command := exec.Command(m.command[0], append(m.command[1:len(m.command):len(m.command)], argument)...)
	command.Dir, command.Env, command.Stderr = tokenMakers, append(os.Environ(), variable), os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return strings.TrimSpace(string(output))
}

// TestTokensOfApplications runs the programs that make tokens, and connects clients with what they print to edges with
// the configurations of the page.
func TestTokensOfApplications(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	folder, jwks := t.TempDir(), ""
	secret, private := filepath.Join(folder, "token-secret"), filepath.Join(folder, "private.pem")
	openssl(t, "rand", "-base64", "-out", secret, "32")
	openssl(t, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, jwks) }))
	t.Cleanup(server.Close)
	configurations := blocks(t, authenticate, "yaml")
	if len(configurations) != 2 {
		t.Fatalf("%s has %d configurations", authenticate, len(configurations))
	}
	nats := natsdtest.Start(t).ClientURL()
	byHMAC := tokenEdge(t, nats, strings.Replace(configurations[0].text, "token-secret", secret, 1))
	sets := map[string]bool{}
	for _, m := range makers(t) {
		t.Run(m.name, func(t *testing.T) {
			admitted(t, byHMAC, m.prints(t, "TOKEN_SECRET_FILE="+secret, "ann"))
			if m.left != "" {
				t.Skip(m.left)
			}
			jwks = m.prints(t, "TOKEN_KEY_FILE="+private, "--jwks")
			sets[strings.ReplaceAll(jwks, " ", "")] = true
			byKeySet := tokenEdge(t, nats, strings.Replace(configurations[1].text, "https://id.example/jwks.json", server.URL, 1))
			admitted(t, byKeySet, m.prints(t, "TOKEN_KEY_FILE="+private, "ann"))
		})
	}
	if len(sets) > 2 { // in Go the members are sorted
		t.Errorf("the programs name one key differently: %v", sets)
	}
}

func openssl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("LEFT OUT: the programs of " + authenticate + ": install openssl")
	}
	if output, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
}

// tokenEdge runs an edge with a configuration of the page.
func tokenEdge(t *testing.T, nats, configuration string) *edgetest.Node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "partyline.yaml")
	writeFile(t, file, configuration)
	loaded, err := config.Load(config.FlavourEdge, []string{"--config=" + file}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, configuration)
	}
	c := loaded.Config
	return edgetest.Start(t, edgetest.Options{NATS: nats, Namespaces: c.Namespaces, Tokens: c.Tokens, Token: c.Token}).Ready()
}

// admitted connects a client with a token, and tries its grant.
func admitted(t *testing.T, edge *edgetest.Node, token string) {
	t.Helper()
	c := enginetest.Dial(t, edge.Talk, "ann", edge.URL, nil)
	c.Connect("/chat", `{"token":"`+token+`"}`)
	for room, want := range map[string]string{"lobby-1": `{"ok":true}`, "vip": `{"error":"not allowed: vip"}`} {
		c.Send(`42/chat,1["join","` + room + `"]`)
		c.Expect(`43/chat,1[` + want + `]`)
	}
}
