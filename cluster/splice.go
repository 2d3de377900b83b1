package cluster

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"partyline/internal/direct"
	"partyline/wire/eio"
)

const (
	// smallRead is the size of the buffer, in bytes, that each direction of an idle spliced connection keeps.
	smallRead = 512
	// largeRead is the size of the pooled buffers with which larger messages are read.
	largeRead = 16 << 10
	// closeTimeout is how long one side may go on once the other has ended.
	closeTimeout = time.Second / 2
)

var largeReads = sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }}

// errSpliced ends a proxy's work on an upgrade: splice has answered the client.
var errSpliced = errors.New("the connection is spliced")

// splice answers the client with another edge's agreement to an upgrade, and copies in both directions from now on.
// It returns at once, so that net/http frees what it keeps for the request. ReverseProxy's own splicing would keep
// that, and two buffers of 32 kB.
func (f *Forwarder) splice(to *forwarding, agreement *http.Response) {
	owner := to.owner           // the closures below must not keep to, which has the request
	fromOwner := agreement.Body // it begins with what the owner sent right after its response
	agreement.Body = http.NoBody
	client, buffered, err := http.NewResponseController(to.w).Hijack()
	if err != nil {
		_ = owner.Close()
		f.set.Engine.Refuse(to.w, to.r, eio.BadRequest)
		return
	}
	below := direct.Below(client)
	end := func() {
		_ = below.Close()
		_ = owner.Close()
	}
	_ = client.SetDeadline(time.Now().Add(f.set.Config.UpgradeTimeout))
	_ = owner.SetDeadline(time.Now().Add(f.set.Config.UpgradeTimeout))
	err = agreement.Write(client)
	if err == nil { // what the client sent right behind its request
		_, err = io.CopyN(owner, buffered, int64(buffered.Reader.Buffered()))
	}
	if err != nil {
		end()
		return
	}
	_ = client.SetDeadline(time.Time{})
	_ = owner.SetDeadline(time.Time{})

	f.stats.spliced.Inc()
	f.stats.splicedNow.Add(1)
	spliced := f.add(end, true)
	var ended atomic.Int32
	copyOneWay := func(to net.Conn, from io.Reader) {
		if err := copyUntilEnd(to, from, f.patience); err != nil {
			end()
		}
		if ended.Add(1) == 2 {
			end()
			f.remove(spliced)
			f.stats.splicedNow.Add(-1)
		}
	}
	f.running.Go(func() { copyOneWay(owner, client) })
	f.running.Go(func() { copyOneWay(client, fromOwner) })
}

// copyUntilEnd copies until from ends, and then half-closes to: the other direction has closeTimeout left. A write
// may take patience. The error is nil if from has ended without one.
func copyUntilEnd(to net.Conn, from io.Reader, patience time.Duration) error {
	small := make([]byte, smallRead)
	for {
		n, err := copyOnce(to, from, small, patience)
		if err == nil && n == len(small) {
			err = copyLarge(to, from, patience)
		}
		switch {
		case errors.Is(err, io.EOF):
			if half, ok := direct.Below(to).(interface{ CloseWrite() error }); ok {
				_ = to.SetReadDeadline(time.Now().Add(closeTimeout))
				return half.CloseWrite()
			}
			return io.ErrClosedPipe
		case err != nil:
			return err
		}
	}
}

// copyLarge copies with a large buffer for as long as each read fills it. It waits with that buffer only if a message
// ends exactly where the small one does.
func copyLarge(to net.Conn, from io.Reader, patience time.Duration) error {
	pooled := largeReads.Get().(*[]byte)
	defer largeReads.Put(pooled)
	for {
		if n, err := copyOnce(to, from, *pooled, patience); err != nil || n < largeRead {
			return err
		}
	}
}

// copyOnce copies what one read returns. n is its length; the error is that of the write, or else of the read.
func copyOnce(to net.Conn, from io.Reader, buffer []byte, patience time.Duration) (n int, err error) {
	n, err = from.Read(buffer)
	if n > 0 {
		_ = to.SetWriteDeadline(time.Now().Add(patience))
		if _, failed := to.Write(buffer[:n]); failed != nil {
			return n, failed
		}
	}
	return n, err
}
