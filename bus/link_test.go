package bus

import (
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// A link that can neither be read nor written does not repeat the results of earlier calls.
func TestLinkThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	link := idle().newLink(conn)
	if _, err := io.WriteString(other, "hello"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := link.Read(buf); n != 5 || err != nil {
		t.Fatalf("read %d bytes and %v", n, err)
	}
	if n, err := link.Write([]byte("hello")); n != 5 || err != nil {
		t.Fatalf("wrote %d bytes and %v", n, err)
	}
	_ = conn.SetDeadline(time.Now().Add(-time.Second))
	if n, err := link.Read(buf); n != 0 || !os.IsTimeout(err) {
		t.Errorf("past the deadline %d bytes are read, and %v", n, err)
	}
	if n, err := link.Write([]byte("hello")); n != 0 || !os.IsTimeout(err) {
		t.Errorf("past the deadline %d bytes are written, and %v", n, err)
	}
	_ = conn.Close()
	if n, err := link.Read(buf); n != 0 || err == nil {
		t.Errorf("%d bytes are read from a closed link, and %v", n, err)
	}
}
