package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/edgetest"
	"partyline/test/recovery/judge"
	"partyline/wire/recovery"
)

const streamName = "SIO_LOG"

// info describes the log's stream.
func (s *stage) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// learnEra notes the epoch of the stream, which is a new one.
func (s *stage) learnEra() {
	s.t.Helper()
	edgetest.Eventually(s.t, "the log exists", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		info, err := s.info(ctx)
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		epoch := recovery.Epoch(info.Created)
		if slices.Contains(s.eras, epoch) {
			return false
		}
		s.eras, s.read = append(s.eras, epoch), 0
		return true
	})
}

// readLog returns everything up to a position, with what was kept of older streams.
func (s *stage) readLog(to judge.Pos) *judge.Log {
	s.t.Helper()
	edgetest.Eventually(s.t, "the log is read", func() bool {
		err := s.readOn(to.Seq, edgetest.Patience)
		if err != nil {
			s.t.Logf("reading the log: %v", err)
		}
		return err == nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return &judge.Log{Epochs: s.eras, Entries: slices.Clone(s.entries)}
}

// keepLog reads the log from time to time: it forgets its events after some minutes.
func (s *stage) keepLog() {
	for {
		select {
		case <-s.over:
			return
		case <-time.After(5 * time.Second):
			_ = s.readOn(0, 10*time.Second) // not longer: a server that is gone does not answer
		}
	}
}

// readOn reads what the stream has since the last call: up to a sequence, or for 0 what there is now. It takes so long at
// the most.
func (s *stage) readOn(to uint64, atMost time.Duration) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	if to == 0 {
		info, err := s.info(ctx)
		if err != nil {
			return err
		}
		to = info.State.LastSeq
	}
	if s.read >= to {
		return nil
	}
	consumer, err := s.js.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.read + 1,
	})
	if err != nil {
		return err
	}
	for s.read < to {
		batch, err := consumer.Fetch(1000, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		before := s.read
		for m := range batch.Messages() {
			if err := s.keep(m); err != nil {
				return err
			}
		}
		if batch.Error() != nil || s.read == before {
			return errors.Join(errors.New("it ended early"), batch.Error())
		}
	}
	return nil
}

// keep notes an entry of the stream. s.reading must be held.
func (s *stage) keep(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if missed := meta.Sequence.Stream - s.read - 1; missed > 0 {
		s.t.Logf("%d entries before %d were not read in time: events of theirs count as foreign", missed, meta.Sequence.Stream)
	}
	s.read = meta.Sequence.Stream
	e, ok := entry(m)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Pos = judge.Pos{Era: len(s.eras) - 1, Seq: s.read}
	s.entries = append(s.entries, e)
	return nil
}

// entry reads an event of the log. Marks and the like are none.
func entry(m jetstream.Msg) (e judge.Entry, ok bool) {
	target, ok := strings.CutPrefix(m.Subject(), "sio.chat.emit.")
	if !ok {
		return e, false
	}
	switch kind, rest, _ := strings.Cut(target, "."); kind {
	case "all":
		e.All = true
	case "room":
		e.Room = rest
	case "socket":
		e.Socket = rest
	default:
		return e, false
	}
	e.ID, ok = idOf(withoutAttachments(m.Data()))
	e.Rooms, e.Except = m.Headers()["Sio-Rooms"], m.Headers()["Sio-Except"]
	e.Volatile = m.Headers().Get("Sio-Volatile") != ""
	return e, ok
}

// withoutAttachments cuts off what follows the array. Bodies of this test have their last bracket before attachments.
func withoutAttachments(body []byte) []byte { return body[:strings.LastIndexByte(string(body), ']')+1] }

// idOf returns the name of an event, ["e",publisher,number,…].
func idOf(body []byte) (string, bool) {
	id, _, ok := parse(body)
	return id, ok
}

// parse returns the name of an event, and its last argument if that is a string.
func parse(body []byte) (id, last string, ok bool) {
	var all []json.RawMessage
	var name, publisher string
	var n int
	if json.Unmarshal(body, &all) != nil || len(all) < 3 || json.Unmarshal(all[0], &name) != nil || name != "e" ||
		json.Unmarshal(all[1], &publisher) != nil || json.Unmarshal(all[2], &n) != nil {
		return "", "", false
	}
	if len(all) > 3 {
		_ = json.Unmarshal(all[len(all)-1], &last)
	}
	return fmt.Sprint(publisher, "/", n), last, true
}

// probeOf returns the number of a probe, or 0.
func probeOf(id string) int {
	n, _ := strings.CutPrefix(id, "q/")
	number, _ := strconv.Atoi(n)
	return number
}

func base36(n uint64) string { return strconv.FormatUint(n, 36) }
