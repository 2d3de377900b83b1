package cluster

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"partyline/wire/eio"
)

const (
	// smallRead is what each direction of an idle spliced connection keeps for reading, in bytes; what is larger is read
	// with a buffer of largeRead that many share.
	smallRead = 512
	largeRead = 16 << 10
	// lastWords is how long one side may go on once the other has ended.
	lastWords = time.Second
	// longestRefusal bounds the answer to an upgrade that is refused, in bytes.
	longestRefusal = 64 << 10
)

var largeReads = sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }}

// splice joins a client that wants a WebSocket with the edge of its session, which answers, speaks and listens as if the
// client stood before it.
func (f *Forwarder) splice(to *passing) {
	if !f.begun() {
		f.set.Engine.Refuse(to.w, to.r, eio.BadRequest) // the client stays with polling, through another edge
		return
	}
	defer f.running.Done()
	f.stats.forwarded.Inc()
	ctx, cancel := context.WithCancel(to.r.Context())
	defer cancel()
	upgrade := f.hold(cancel)
	defer f.release(upgrade)
	owner, ahead, answer, err := f.knock(ctx, to)
	switch {
	case err != nil && to.r.Context().Err() != nil: // it is the client who has gone
	case err != nil:
		f.failed(to, err)
		f.set.Engine.ServeHTTP(to.w, to.r)
	case answer.StatusCode != http.StatusSwitchingProtocols:
		defer owner.Close()
		writeRefusal(to.w, answer)
	default:
		client, err := f.welcome(to, answer, owner, ahead)
		if err != nil {
			_ = owner.Close()
			return
		}
		f.join(client, owner)
	}
}

// knock asks another edge for the upgrade. ahead is what it has said beyond its answer.
func (f *Forwarder) knock(ctx context.Context, to *passing) (owner net.Conn, ahead *bufio.Reader, answer *http.Response, err error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if owner, err = dialer.DialContext(ctx, "tcp", to.hostPort); err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = owner.Close() })
	_ = owner.SetDeadline(time.Now().Add(f.set.Config.UpgradeTimeout))
	out := to.r.Clone(ctx)
	out.Body = nil
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto"} {
		out.Header.Del(name) // what they say is in our own header, if a trusted proxy has said it
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // or net/http would add its own
	}
	f.proof.give(out, to.sid, f.set.ID, f.set.Engine.Peer(to.r), time.Now())
	if err = out.Write(owner); err == nil {
		ahead = bufio.NewReaderSize(owner, 4<<10)
		answer, err = http.ReadResponse(ahead, out)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = owner.Close()
		return nil, nil, nil, err
	}
	return owner, ahead, answer, nil
}

// writeRefusal passes on the answer to an upgrade that is none.
func writeRefusal(w http.ResponseWriter, answer *http.Response) {
	defer answer.Body.Close()
	h := w.Header()
	for name, values := range answer.Header {
		h[name] = values
	}
	for _, name := range []string{"Keep-Alive", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
	h.Set("Connection", "close")
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(answer.Body, longestRefusal))
}

// welcome tells the client that it has its WebSocket, and carries over what both sides have said before they were joined.
func (f *Forwarder) welcome(to *passing, answer *http.Response, owner net.Conn, ahead *bufio.Reader) (net.Conn, error) {
	client, buffered, err := http.NewResponseController(to.w).Hijack()
	if err != nil {
		f.set.Engine.Refuse(to.w, to.r, eio.BadRequest)
		return nil, err
	}
	_ = client.SetDeadline(time.Now().Add(f.set.Config.UpgradeTimeout))
	answer.Body = nil
	err = answer.Write(client)
	if err == nil {
		_, err = io.CopyN(client, ahead, int64(ahead.Buffered()))
	}
	if err == nil {
		_, err = io.CopyN(owner, buffered, int64(buffered.Reader.Buffered()))
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	_ = client.SetDeadline(time.Time{})
	_ = owner.SetDeadline(time.Time{})
	return client, nil
}

// join copies both ways, until both have ended, and returns at once: net/http lets go of what it holds for the request.
func (f *Forwarder) join(client, owner net.Conn) {
	end := func() {
		_ = client.Close()
		_ = owner.Close()
	}
	f.stats.spliced.Inc()
	f.stats.splicedNow.Add(1)
	spliced := f.hold(end)
	if f.isLeaving() { // it was not there yet when the others were told to end
		end()
	}
	var ended atomic.Int32
	both := func(to, from net.Conn) {
		if err := pump(to, from, f.patience); err != nil {
			end()
		}
		if ended.Add(1) == 2 {
			end()
			f.release(spliced)
			f.stats.splicedNow.Add(-1)
		}
	}
	f.running.Go(func() { both(owner, client) })
	f.running.Go(func() { both(client, owner) })
}

// pump copies what comes until it ends, and passes the end on: then the other direction has lastWords left. A write may
// take as long as a session may be silent. The error is nil if from has ended in good order.
func pump(to, from net.Conn, patience time.Duration) error {
	small := make([]byte, smallRead)
	for {
		n, err := from.Read(small)
		if n > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(patience))
			if _, failed := to.Write(small[:n]); failed != nil {
				return failed
			}
		}
		if err == nil && n == len(small) {
			err = pumpLarge(to, from, patience)
		}
		switch {
		case errors.Is(err, io.EOF):
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = to.SetReadDeadline(time.Now().Add(lastWords))
				return half.CloseWrite()
			}
			return io.ErrClosedPipe
		case err != nil:
			return err
		}
	}
}

// pumpLarge goes on where a read has filled its buffer, as long as there is much. It waits with its large buffer only
// where a message ends exactly with the small one.
func pumpLarge(to, from net.Conn, patience time.Duration) error {
	pooled := largeReads.Get().(*[]byte)
	defer largeReads.Put(pooled)
	for {
		n, err := from.Read(*pooled)
		if n > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(patience))
			if _, failed := to.Write((*pooled)[:n]); failed != nil {
				return failed
			}
		}
		if err != nil || n < largeRead {
			return err
		}
	}
}
