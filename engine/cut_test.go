package engine

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A client whose TLS connection ends in the middle of a record, because its process or its network is gone, has closed
// it. It has broken no rule, and the log does not say so.
func TestACutTLSConnectionIsNoFault(t *testing.T) {
	t.Parallel()
	accepted := make(chan *recorder, 1)
	server := NewServer(Settings{
		Config: DefaultConfig(), EdgeID: "edgeedge", Log: slog.New(slog.DiscardHandler),
		Handler: func(s *Session, _ *Opening) Receiver {
			r := &recorder{session: s}
			accepted <- r
			return r
		},
	})
	site := httptest.NewTLSServer(server)
	defer func() {
		server.Leave()
		server.Abort()
		site.Close()
	}()
	conn, err := tls.Dial("tcp", site.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, upgradeRequest+masked("4hello")); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	r := <-accepted
	// A record of 100 bytes, of which three come.
	if _, err := conn.NetConn().Write([]byte{0x17, 3, 3, 0, 100, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	_ = conn.NetConn().Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		ends := r.ends
		r.mu.Unlock()
		if len(ends) > 0 {
			if ends[0] != TransportClose {
				t.Errorf("the session ended with %q, want %q", ends[0], TransportClose)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("the session does not end")
		}
	}
}
