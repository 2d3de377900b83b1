package node

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// ask sends a request to a program and returns the status and the body.
func ask(t *testing.T, method, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// The operator drains a program, which keeps running, and cancels that.
func TestTheOperatorDrains(t *testing.T) {
	where, _ := background(t, embedded, append(freePorts, "--drain.rate=0")...)
	admin, handshake := "http://"+where.Admin, "http://"+where.Address+"/socket.io/?EIO=4&transport=polling"
	ready := func() bool { status, _ := ask(t, "GET", admin+"/readyz"); return status == http.StatusOK }
	edgetest.Eventually(t, "it is ready", ready)
	if status, text := ask(t, "GET", handshake); status != http.StatusOK {
		t.Fatalf("a handshake was answered %d %s", status, text)
	}
	for range 2 {
		if status, text := ask(t, "POST", admin+"/drain"); status != http.StatusAccepted ||
			!strings.Contains(text, "draining: ") {
			t.Errorf("POST /drain was answered %d %s", status, text)
		}
	}
	if status, _ := ask(t, "GET", handshake); status != http.StatusServiceUnavailable {
		t.Errorf("a handshake was answered %d", status)
	}
	if status, text := ask(t, "GET", admin+"/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(text, "draining: ") {
		t.Errorf("/readyz: %d %s", status, text)
	}
	if status, text := ask(t, "POST", admin+"/drain?cancel"); status != http.StatusOK {
		t.Errorf("POST /drain?cancel was answered %d %s", status, text)
	}
	if status, text := ask(t, "GET", handshake); status != http.StatusOK || !ready() {
		t.Errorf("a handshake was answered %d %s", status, text)
	}
}
