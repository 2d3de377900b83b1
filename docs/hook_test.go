package docs_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// counting is hook.py whose answers to events count what it did: "wait" waits until 8 requests more have come, "fail" fails
// the first time.
const counting = `
import http.server
import threading
serve, started = http.server.ThreadingHTTPServer.serve_forever, []
http.server.ThreadingHTTPServer.serve_forever = lambda server: started.append(server)
import hook
came, did, handle = threading.Semaphore(0), [], hook.handle
def counted(headers, body):
    if b"wait" in body:
        came.release()
    return handle(headers, body)
def answer(request):
    name = request["data"]["event"][0]
    did.append(name)
    if name == "wait":
        assert all(came.acquire(timeout=60) for _ in range(8))
    if name == "fail" and did.count(name) == 1:
        raise RuntimeError("the first try fails, as it must")
    return 200, {"ack": [did.count(name)]}
hook.answer, hook.handle = answer, counted
serve(started[0])
`

// TestTheHookInPythonActsOnce sends tries of requests one after the other, at once, and again as they were recorded.
func TestTheHookInPythonActsOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a program")
	}
	const secret = "0123456789abcdef0123456789abcdef"
	file := filepath.Join(t.TempDir(), "hook-secrets")
	writeFile(t, file, "whsec_"+base64.StdEncoding.EncodeToString([]byte(secret))+"\n")
	url := startHook(t, file, "-c", counting)
	now := time.Now().Unix()
	try := func(id, name string, at int64) (status int, body string) {
		event := `{"type":"partyline.event","data":{"event":["` + name + `"]}}`
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%s.%d.%s", id, at, event)
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(event))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		r.Header.Set("webhook-id", id)
		r.Header.Set("webhook-timestamp", strconv.FormatInt(at, 10))
		r.Header.Set("webhook-signature", "v1,b2xk v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	answers := func(id, name string, at int64, status int, want string) {
		t.Helper()
		if got, body := try(id, name, at); got != status || status == 200 && body != want {
			t.Errorf("%s %s at %d: %d %s, want %d %s", id, name, at-now, got, body, status, want)
		}
	}
	answers("a", "x", now, 200, `{"ack": [1]}`)
	answers("a", "x", now, 409, "") // recorded
	answers("a", "x", now+1, 200, `{"ack": [1]}`)
	answers("a", "x", now+1, 409, "")
	answers("b", "x", now, 200, `{"ack": [2]}`)
	answers("c", "x", now-400, 400, "")
	answers("c", "x", now+400, 400, "")
	answers("d", "fail", now, 0, "")
	answers("d", "fail", now, 409, "")
	answers("d", "fail", now+1, 200, `{"ack": [2]}`) // nothing had answered

	const tries = 8
	done := make(chan string, tries)
	for i := range int64(tries) {
		go func() {
			_, body := try("e", "wait", now+i)
			done <- body
		}()
	}
	for range tries {
		if body := <-done; body != `{"ack": [1]}` {
			t.Errorf("a try was answered %s", body)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// startHook runs Python with hook.py, or a program around it, on a free port until the test ends, and returns its address.
func startHook(t *testing.T, secrets string, args ...string) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("LEFT OUT: the hook in Python: install python3")
	}
	port := freePort(t)
	command := exec.Command(python, append(append([]string{"-B"}, args...), port)...)
	command.Dir, command.Env = httpExamples, append(os.Environ(), "HOOK_SECRETS_FILE="+secrets)
	if command.Stderr = os.Stderr; args[0] != "hook.py" {
		command.Stderr = nil // it has the trace of what fails
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	url := "http://127.0.0.1:" + port
	edgetest.Eventually(t, "the hook answers", func() bool {
		response, err := http.Post(url, "application/json", strings.NewReader("{}"))
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusBadRequest // it is not signed
	})
	return url
}
