package official

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nodeChat returns a copy of examples/node-chat with its packages, and with the TypeScript compiled.
func nodeChat(t *testing.T) string {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join(packageFolder, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "node-chat")
	if err := os.CopyFS(folder, os.DirFS("../../examples/node-chat")); err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(folder, "node_modules")
	if err := os.RemoveAll(installed); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(installed, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]string{
		"partyline": filepath.Dir(modules), "express": filepath.Join(modules, "express"), "@types": filepath.Join(modules, "@types"),
	} {
		if err := os.Symlink(at, filepath.Join(installed, name)); err != nil {
			t.Fatal(err)
		}
	}
	compile := exec.Command("node", filepath.Join(modules, "typescript/bin/tsc"), "-p", ".")
	compile.Dir = folder
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("the example does not compile: %v\n%s", err, output)
	}
	return folder
}

// site is a proxy as in front of a deployment: /socket.io/ goes to the edge, and the rest to the first instance that
// answers. It returns its address.
func site(t *testing.T, edge string, instances []string) string {
	t.Helper()
	pass := func(to string) *httputil.ReverseProxy {
		target, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // an edge compares it with the origin of the page
		}}
	}
	var page http.Handler = http.NotFoundHandler()
	for _, address := range instances {
		instance, next := pass("http://"+address), page
		instance.ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) { next.ServeHTTP(w, r) }
		page = instance
	}
	clients := pass(edge)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/socket.io/") {
			clients.ServeHTTP(w, r)
		} else {
			page.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}
