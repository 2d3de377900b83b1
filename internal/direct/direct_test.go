package direct

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// pair is two ends of a TCP connection.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func TestNothingWaits(t *testing.T) {
	a, b := pair(t)
	raw := Conn(a)
	if raw == nil {
		t.Skip("this system has no calls that do not wait")
	}
	buf := make([]byte, 1<<20)
	try := func(wait func(func(uintptr) bool) error, do func(uintptr, []byte) (int, error)) (n int) {
		t.Helper()
		err := wait(func(fd uintptr) bool {
			var failed error
			if n, failed = do(fd, buf); failed != nil {
				t.Error(failed)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := try(raw.Read, Read); n >= 0 {
		t.Errorf("%d bytes came from nowhere", n)
	}
	written := 0
	for {
		n := try(raw.Write, Write)
		if n < 0 {
			break // the other end reads nothing
		}
		written += n
	}
	_ = a.(*net.TCPConn).CloseWrite()
	read := 0
	for raw, err := Conn(b), error(nil); err == nil; {
		n := 0
		err = raw.Read(func(fd uintptr) bool {
			var failed error
			if n, failed = Read(fd, buf); failed != nil {
				t.Error(failed)
			}
			return n >= 0
		})
		if n == 0 {
			break
		}
		read += n
	}
	if read != written {
		t.Errorf("%d bytes of %d came", read, written)
	}
}

// An error differs from nothing to read and from no room to write.
func TestErrors(t *testing.T) {
	a, _ := pair(t)
	if Conn(a) == nil {
		t.Skip("this system has no calls that do not wait")
	}
	for name, do := range map[string]func(uintptr, []byte) (int, error){"read": Read, "write": Write} {
		if n, err := do(1<<30, make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s without a descriptor: %d bytes and %v", name, n, err)
		}
	}
}

func TestConnWithoutDescriptor(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Conn(a) != nil {
		t.Error("a pipe has a descriptor")
	}
}

// A transfer that fails does not repeat the result of an earlier one, and its error names the connection.
func TestTransfers(t *testing.T) {
	a, b := pair(t)
	from, to := Conn(a), Conn(b)
	if from == nil {
		t.Skip("this system has no calls that do not wait")
	}
	r, w, buf := NewReader("the reader"), NewWriter("the writer"), make([]byte, 100)
	if n, err := w.TryWrite(to, []byte("hello")); n != 5 || err != nil {
		t.Fatalf("wrote %d bytes and %v", n, err)
	}
	if n, err := r.Read(from, buf); string(buf[:n]) != "hello" || err != nil {
		t.Fatalf("read %q and %v", buf[:n], err)
	}
	_ = b.Close()
	if n, err := r.Read(from, buf); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d bytes and %v", n, err)
	}
	if n, err := w.TryWrite(to, buf); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed connection: %d bytes and %v", n, err)
	}
	for err := error(nil); ; _, err = w.TryWrite(from, buf) {
		if err != nil {
			if !strings.HasPrefix(err.Error(), "the writer: ") {
				t.Error(err)
			}
			return
		}
	}
}
