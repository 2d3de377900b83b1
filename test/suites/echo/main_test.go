package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The echo says what the suite expects of a handshake, and sends back text and binary data.
func TestEcho(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	url := server.URL + "/engine.io/?EIO=4&transport=polling"
	request := func(method, url, body string) string {
		t.Helper()
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %q %v", method, url, response.StatusCode, answer, err)
		}
		return string(answer)
	}
	open := request("GET", url, "")
	if want := `,"upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}`; !strings.HasSuffix(open, want) {
		t.Errorf("the session opens with %s", open)
	}
	sid, _, _ := strings.Cut(strings.TrimPrefix(open, `0{"sid":"`), `"`)
	url += "&sid=" + sid
	request("POST", url, "4hello\x1ebAQIDBA==")
	if got := request("GET", url, ""); got != "4hello\x1ebAQIDBA==" {
		t.Errorf("got %q", got)
	}
	request("POST", url, "1")
}
