package engine

import (
	"bufio"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
)

// hijacked is a request's connection with a reader of the test's own. Any other read from it is an error.
type hijacked struct {
	*httptest.ResponseRecorder
	net.Conn // in memory; only for the methods that are not below
	t        *testing.T
	reader   *bufio.Reader
}

func (h *hijacked) Write(p []byte) (int, error) { return len(p), nil }

func (h *hijacked) Read([]byte) (int, error) {
	h.t.Error("gorilla/websocket reads from the connection, not from the reader that Hijack returned")
	return 0, io.EOF
}

func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h, bufio.NewReadWriter(h.reader, bufio.NewWriter(io.Discard)), nil
}

// gorilla/websocket reads through the pointer to the bufio.Reader that Hijack returned and through nothing else, and
// keeps nothing of a message that was read. So the bufio.Reader may be replaced by value between messages (see
// wsReader).
func TestTheReaderIsReplacedByValue(t *testing.T) {
	var reader bufio.Reader
	fill := func(text string) { reader = *bufio.NewReaderSize(strings.NewReader(text), frameBuffer) }
	fill("")
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	r := httptest.NewRequest("GET", "/", nil)
	for _, line := range strings.Split(strings.TrimSpace(upgradeRequest), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	ws, err := upgrader.Upgrade(&hijacked{httptest.NewRecorder(), server, t, &reader}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		_, message, err := ws.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(message); string(got) != want || err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	for range 3 {
		fill(masked("one") + masked("two"))
		expect("one")
		saved := reader
		reader = bufio.Reader{}
		reader = saved
		expect("two")
		if n := reader.Buffered(); n != 0 {
			t.Fatalf("%d bytes are left", n)
		}
		reader = bufio.Reader{} // as of an idle connection
	}
}
