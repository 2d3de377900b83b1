package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of records.
const (
	headerHolder = "Sio-Holder" // the edge
	headerClaim  = "Sio-Claim"  // see Write.Claim
)

const (
	// askAgain is the pause before a request that had no responders is repeated.
	askAgain = 100 * time.Millisecond
	// getTimeout is how long one request may take: a server that hangs, or has died, does not answer what was sent to
	// it.
	getTimeout = time.Second
)

// Record is the record of a socket.
type Record struct {
	Holder string // the edge that has the socket, or had it last
	Body   []byte
	Seq    uint64    // for Write.Expected
	Time   time.Time // when it was stored, by the clock of NATS

	claim string
}

// Record returns the record of a key, as the leader of the stream has it. Errors: ErrNoRecord; ErrAway if there is no
// answer before ctx ends.
func (l *Log) Record(ctx context.Context, key string) (Record, error) {
	return l.get(ctx, l.records(), getRequest(l.set.Prefix.Session(key)))
}

// Beat notes that an edge lives. It may block while NATS reads slowly. A beat that is lost is no error: the next one
// counts.
func (l *Log) Beat(edge string) { _ = l.set.Conn.Publish(l.set.Prefix.SessionBeat(edge), []byte(edge)) }

// LastBeat returns when an edge noted last that it lives, by the clock of NATS. Errors are those of Record; beats are
// forgotten after 24 hours.
func (l *Log) LastBeat(ctx context.Context, edge string) (time.Time, error) {
	r, err := l.get(ctx, l.records(), getRequest(l.set.Prefix.SessionBeat(edge)))
	return r.Time, err
}

// get asks the leader of a stream for a message. A direct get may be answered by a replica that lags.
func (l *Log) get(ctx context.Context, stream string, request []byte) (Record, error) {
	for {
		attempt, stop := context.WithTimeout(ctx, getTimeout)
		m, err := l.set.Conn.RequestWithContext(attempt, "$JS.API.STREAM.MSG.GET."+stream, request)
		stop()
		switch {
		case err == nil:
			return parseRecord(m.Data)
		case ctx.Err() != nil || !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded):
			return Record{}, fmt.Errorf("%w: %w", ErrAway, err)
		}
		pause(ctx, askAgain, nil) // an election
	}
}

func getRequest(subject string) []byte { return fmt.Appendf(nil, `{"last_by_subj":%q}`, subject) }

// parseRecord parses the answer to a get.
func parseRecord(answer []byte) (Record, error) {
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq    uint64    `json:"seq"`
			Header []byte    `json:"hdrs"`
			Data   []byte    `json:"data"`
			Time   time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrAway, err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return Record{}, ErrNoRecord
	case got.Error != nil:
		return Record{}, fmt.Errorf("%w: %w", ErrAway, got.Error)
	}
	r := Record{Body: got.Message.Data, Seq: got.Message.Seq, Time: got.Message.Time}
	if len(got.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(got.Message.Header)
		if err != nil {
			return r, fmt.Errorf("the headers of a record: %w", err)
		}
		r.Holder, r.claim = h.Get(headerHolder), h.Get(headerClaim)
	}
	return r, nil
}
