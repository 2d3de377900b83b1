package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partyline/engine"
)

// pipes accepts connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Clients that send half a request, or do not read the response, lose their connection after a timeout; a waiting
// poll does not.
func TestSlowClients(t *testing.T) {
	c := engine.DefaultConfig()
	const poll = time.Minute
	handler := http.NewServeMux()
	handler.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100_000)) })
	handler.HandleFunc("/poll", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(poll):
		case <-r.Context().Done():
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(poll)) // as the engine does
	})
	for _, test := range []struct {
		name, request string
		read          bool // whether the client reads the answer
		want          time.Duration
	}{
		{"nothing", "", true, headerTimeout},
		{"half a line", "GET / HT", true, headerTimeout},
		{"half a header", "GET / HTTP/1.1\r\nHost: x\r\nCookie: ", true, headerTimeout},
		{"a body that never comes", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", true, bodyTimeout},
		{"chunks that never come", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true,
			bodyTimeout},
		{"nothing more", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, idleTimeout},
		{"an answer that is not read", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false,
			c.PingInterval + c.PingTimeout + writeTimeout},
		{"a poll", "GET /poll HTTP/1.1\r\nHost: x\r\n\r\n", true, poll + idleTimeout},
		{"a poll with a body that never comes", "GET /poll HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", true, poll},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				server := newServer(handler, c, slog.New(slog.DiscardHandler))
				ended := make(chan struct{})
				server.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						close(ended)
					}
				}
				served := make(chan error)
				go func() { served <- server.Serve(listener) }()
				client, inside := net.Pipe()
				listener <- inside
				begun, done := time.Now(), make(chan struct{})
				go func() {
					defer close(done)
					_, _ = io.WriteString(client, test.request)
					if test.read {
						_, _ = io.Copy(io.Discard, client)
						t.Logf("the end after %s", time.Since(begun))
					}
				}()
				<-ended
				// net/http keeps a connection for 500 ms if its client may still be sending.
				if took := time.Since(begun); took < test.want || took > test.want+time.Second {
					t.Errorf("the connection ended after %s, want %s", took, test.want)
				}
				_ = client.Close()
				<-done
				_ = server.Close()
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
