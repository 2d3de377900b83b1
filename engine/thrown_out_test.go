package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// connect opens a connection.
func (s *stage) connect() net.Conn {
	s.t.Helper()
	conn, err := s.listener.dial(context.Background(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A WebSocket whose session was thrown out is closed within a second if its client does not close it. A client that
// reads gets the close frame first.
func TestAThrownOutWebSocketIsClosed(t *testing.T) {
	for name, throwOut := range map[string]func(s *stage, ws *websocket.Conn, r *recorder){
		"a packet that does not exist": func(s *stage, ws *websocket.Conn, _ *recorder) { s.write(ws, "9") },
		"a ping":                       func(s *stage, ws *websocket.Conn, _ *recorder) { s.write(ws, "2") },
		"a frame that is not masked": func(s *stage, ws *websocket.Conn, _ *recorder) {
			_, _ = ws.UnderlyingConn().Write([]byte("\x81\x01a"))
		},
		"closed":  func(_ *stage, _ *websocket.Conn, r *recorder) { r.session.Close(ForcedServerClose) },
		"failed":  func(_ *stage, _ *websocket.Conn, r *recorder) { r.session.fail(PingTimeout) },
		"closing": func(_ *stage, _ *websocket.Conn, r *recorder) { r.session.Close(ServerShutdown) },
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reads %t", name, reads), func(t *testing.T) {
				play(t, nil, func(t *testing.T, s *stage) {
					ws := s.open()
					defer ws.Close()
					ws.SetCloseHandler(func(int, string) error { return nil }) // the client does not close
					r, ended := s.last(), make(chan error, 1)
					throwOut(s, ws, r)
					if reads {
						go func() {
							_, _, err := ws.ReadMessage()
							ended <- err
						}()
					}
					synctest.Wait()
					time.Sleep(lastWrite)
					if n := s.openSockets(); n != 0 {
						t.Errorf("%d connections are open", n)
					}
					if !reads {
						return
					}
					if err := <-ended; !websocket.IsCloseError(err, websocket.CloseNoStatusReceived, websocket.CloseProtocolError) {
						t.Errorf("the client got %v instead of a close frame", err)
					}
				})
			})
		}
	}
}

// A client that reads slowly gets what is queued before the end.
func TestASlowReaderGetsWhatIsQueuedBeforeTheEnd(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		r := s.last()
		for range 20 {
			r.session.Send(message(strings.Repeat("x", slowest)))
		}
		r.session.Close(ForcedServerClose)
		for i := range 20 {
			time.Sleep(time.Second)
			if _, data, err := ws.ReadMessage(); err != nil || len(data) != slowest+1 {
				t.Fatalf("message %d: %d bytes and %v", i, len(data), err)
			}
		}
		s.expectClose(ws, websocket.CloseNoStatusReceived)
	})
}

// A request whose session ends is the last one of its connection.
func TestTheConnectionsOfAThrownOutPollerAreClosed(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: edge\r\n"
	for name, c := range map[string]struct {
		request string // of the connection that must end; QUERY is the session's
		end     func(s *stage, r *recorder)
		want    string // part of the answer; "": none
	}{
		"a poll that waits": {"GET /socket.io/?QUERY" + head + "\r\n", func(_ *stage, r *recorder) {
			r.session.fail(ForcedServerClose)
		}, "\r\n\r\n1"},
		"a poll that waits for a session that is closing": {"GET /socket.io/?QUERY" + head + "\r\n", func(_ *stage, r *recorder) {
			r.session.Close(ForcedServerClose)
		}, "\r\n\r\n1"},
		"a POST that breaks the rules": {
			"POST /socket.io/?QUERY" + head + "Content-Length: 1\r\n\r\n9", func(*stage, *recorder) {}, "\r\n\r\nok",
		},
		"a POST that never comes": {"POST /socket.io/?QUERY" + head + "Content-Length: 10\r\n\r\n4x", func(_ *stage, r *recorder) {
			r.session.fail(PingTimeout)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(t *testing.T, s *stage) {
				conn := s.connect()
				query := s.poll()
				if _, err := io.WriteString(conn, strings.ReplaceAll(c.request, "QUERY", query)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				c.end(s, s.last())
				began := time.Now()
				answer, err := io.ReadAll(bufio.NewReader(conn))
				if took := time.Since(began); took > time.Second || err != nil {
					t.Errorf("the connection ended with %v after %s", err, took)
				}
				if c.want == "" && len(answer) > 0 || !strings.Contains(string(answer), c.want) {
					t.Errorf("the answer is %q, want %q", answer, c.want)
				}
			})
		})
	}
}

// slowCloser is a connection like TLS: its Close may wait for a client that does not read.
type slowCloser struct{ net.Conn }

func (c slowCloser) NetConn() net.Conn { return c.Conn }
func (c slowCloser) Close() error      { time.Sleep(5 * time.Second); return c.Conn.Close() }

// The end of a TLS connection does not hold the session's lock, which every sender to the session takes.
func TestTheEndOverTLSDoesNotDelaySenders(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		s.listener.wrap = func(c net.Conn) net.Conn { return slowCloser{c} }
		ws := s.open() // and never reads again
		defer ws.Close()
		r := s.last()
		r.session.Send(message("x"))
		synctest.Wait()
		r.session.fail(QueueOverflow)
		time.Sleep(lastWrite)
		synctest.Wait()
		if !r.session.mu.TryLock() {
			t.Fatal("the session is locked while its connection is closed")
		}
		r.session.mu.Unlock()
		if n := s.openSockets(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}
