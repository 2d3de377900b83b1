package gateways

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// A request without a key whose body does not come is answered all the same, and does not hold its connection.
func TestBodiesThatAreNotRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	for _, body := range []string{"Content-Length: 100000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = c.SetDeadline(began.Add(edgetest.Patience))
		_, _ = fmt.Fprintf(c, "POST /v1/emit HTTP/1.1\r\nHost: x\r\n%s", body)
		in := bufio.NewReader(c)
		response, err := http.ReadResponse(in, nil)
		if err != nil || response.StatusCode != http.StatusNotFound {
			t.Fatalf("%v, %v", response, err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("the connection stays open: %v", err)
		}
		if took := time.Since(began); took > requestTimeout/2 {
			t.Errorf("it took %s", took)
		}
		_ = c.Close()
	}
}
