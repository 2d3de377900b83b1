package natsd

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// A pump reads what its server writes without waiting for a reader, up to a limit, and passes it on in order.
func TestPump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		p := newPump(ours)
		part := bytes.Repeat([]byte("0123456789abcde\n"), 1<<12) // 64 KiB
		const parts = 40
		written := 0
		go func() {
			for range parts {
				n, _ := theirs.Write(part)
				written += n
			}
			_ = theirs.Close()
		}()
		synctest.Wait()
		if written < pumpLimit || written > pumpLimit+2*len(part) {
			t.Errorf("%d bytes were read ahead, want about %d", written, pumpLimit)
		}
		all, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(all, bytes.Repeat(part, parts)) {
			t.Errorf("%d bytes came, and %v; want %d", len(all), err, parts*len(part))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Close ends a read that waits, and a write of the server that waits.
func TestPumpIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fill := range []int{0, 4 * pumpLimit} {
			ours, theirs := net.Pipe()
			p := newPump(ours)
			write, read := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := theirs.Write(make([]byte, fill))
				write <- err
			}()
			if fill == 0 {
				go func() {
					_, err := p.Read(make([]byte, 1))
					read <- err
				}()
			}
			synctest.Wait()
			_ = p.Close()
			if err := <-write; fill > 0 && err == nil {
				t.Error("a write to a closed pump succeeded")
			}
			if fill == 0 {
				if err := <-read; err == nil {
					t.Error("a read from a closed pump succeeded")
				}
			}
		}
	})
}
