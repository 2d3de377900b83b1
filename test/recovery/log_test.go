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
		s.eras = append(s.eras, epoch)
		return true
	})
}

// readLog returns everything up to a position, with what was kept of older streams.
func (s *stage) readLog(to judge.Pos) *judge.Log {
	s.t.Helper()
	var entries []judge.Entry
	edgetest.Eventually(s.t, "the log is read", func() bool {
		var err error
		if entries, err = s.readStream(to); err != nil {
			s.t.Logf("reading the log: %v", err)
		}
		return err == nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return &judge.Log{Epochs: s.eras, Entries: append(slices.Clone(s.entries), entries...)}
}

func (s *stage) readStream(to judge.Pos) (entries []judge.Entry, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), edgetest.Patience)
	defer cancel()
	consumer, err := s.js.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{FilterSubjects: []string{"sio.chat.emit.>"}})
	if err != nil {
		return nil, err
	}
	for seq := uint64(0); seq < to.Seq; {
		batch, err := consumer.Fetch(1000, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return nil, err
		}
		got := 0
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			seq = meta.Sequence.Stream
			got++
			if e, ok := entry(m); ok {
				e.Pos = judge.Pos{Era: to.Era, Seq: seq}
				entries = append(entries, e)
			}
		}
		if batch.Error() != nil || got == 0 {
			return nil, errors.Join(errors.New("it ended early"), batch.Error())
		}
	}
	return entries, nil
}

// entry reads an event of the log. Marks and the like are none.
func entry(m jetstream.Msg) (e judge.Entry, ok bool) {
	target := strings.TrimPrefix(m.Subject(), "sio.chat.emit.")
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
