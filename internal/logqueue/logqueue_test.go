package logqueue

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func asJSON(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) }

// line is a line of the log.
type line struct {
	Msg   string
	N     int
	Lines int
}

func parse(t *testing.T, text []byte) (all []line) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var l line
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("%v after %d lines of %d bytes", err, len(all), len(text))
		}
		all = append(all, l)
	}
}

func TestEveryLineInOrder(t *testing.T) {
	var out bytes.Buffer
	q, handler := New(&out, asJSON)
	log := slog.New(handler)
	const lines = 1000
	for n := range lines {
		log.Info("x", "n", n)
	}
	if !q.Close(patience) {
		t.Fatal("it does not end")
	}
	log.Info("too late") // and does not panic
	all := parse(t, out.Bytes())
	if len(all) != lines {
		t.Fatalf("%d lines, want %d", len(all), lines)
	}
	for n, l := range all {
		if l.N != n {
			t.Fatalf("line %d is %d", n, l.N)
		}
	}
}

// A pipe that is not read does not block the program. Once it is read again, the log has the number of missing lines,
// in their place.
func TestAPipeThatIsNotRead(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	q, handler := New(writer, asJSON)
	log := slog.New(handler)
	const lines = 50_000 // some 5 MB
	var logging sync.WaitGroup
	for range 4 {
		logging.Go(func() {
			for n := range lines / 4 {
				log.Info("x", "n", n, "padding", strings.Repeat("x", 50))
			}
		})
	}
	logging.Wait()
	if q.lost.Value() == 0 {
		t.Fatal("nothing was lost: the test is wrong")
	}
	var text bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&text, reader) })
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		empty := len(q.waiting) == 0
		q.mu.Unlock()
		if empty {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the queue does not become empty")
		}
	}
	log.Info("last")
	if !q.Close(patience) {
		t.Error("it does not end")
	}
	writer.Close()
	reading.Wait()
	all := parse(t, text.Bytes())
	told, written := 0, 0
	for _, l := range all[:len(all)-1] {
		if l.Msg == lostMessage {
			told += l.Lines
		} else {
			written++
		}
	}
	if written+told != lines || uint64(told) != q.lost.Value() || all[len(all)-1].Msg != "last" {
		t.Errorf("%d lines written, %d logged as lost, %d counted, of %d; the last is %+v", written, told, q.lost.Value(),
			lines, all[len(all)-1])
	}
}

// The end does not wait for a reader.
func TestCloseWithAPipeThatIsNotRead(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	q, handler := New(writer, asJSON)
	log := slog.New(handler)
	for range 20_000 {
		log.Info("x", "padding", strings.Repeat("x", 100))
	}
	began := time.Now()
	if q.Close(50 * time.Millisecond) {
		t.Error("all is written, though the pipe is not read")
	}
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
}

// brittle accepts some bytes, and then fails until it is mended.
type brittle struct {
	mu   sync.Mutex
	out  bytes.Buffer
	room int
}

func (b *brittle) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(b.room, len(p))
	b.out.Write(p[:n])
	b.room -= n
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// An output that fails and then works again gets whole lines, and the number of those that it lost.
func TestAnOutputThatFails(t *testing.T) {
	out := &brittle{room: 100}
	q, handler := New(out, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) })
	log := slog.New(handler)
	lost := func() uint64 { return q.lost.Value() }
	for n := range 10 {
		before := lost()
		log.Info("padding", "n", n, "x", strings.Repeat("x", 30))
		for end := time.Now().Add(patience); n >= 1 && lost() == before; time.Sleep(time.Millisecond) { // one write each
			if time.Now().After(end) {
				t.Fatalf("line %d is not lost", n)
			}
		}
	}
	out.mu.Lock()
	out.room = 1 << 20
	out.mu.Unlock()
	log.Info("it works again")
	if !q.Close(patience) {
		t.Fatal("it does not end")
	}
	var texts []string
	for s := bufio.NewScanner(&out.out); s.Scan(); {
		texts = append(texts, s.Text())
	}
	last := texts[len(texts)-2:]
	if !strings.Contains(last[0], lostMessage) || !strings.Contains(last[0], fmt.Sprint("lines=", lost())) ||
		!strings.HasPrefix(last[1], "time=") ||
		!strings.Contains(last[1], "it works again") {
		t.Errorf("%d lines were lost; the log ends with\n%s", lost(), strings.Join(texts, "\n"))
	}
}

// A line that is larger than the queue is lost, and the next is not.
func TestALineThatIsTooLarge(t *testing.T) {
	var out bytes.Buffer
	q, handler := New(&out, asJSON)
	log := slog.New(handler)
	log.Info(strings.Repeat("x", MaxBytes))
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		told := q.dropped == 0
		q.mu.Unlock()
		if told {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is not logged")
		}
	}
	log.Info("next")
	q.Close(patience)
	all := parse(t, out.Bytes())
	if len(all) != 2 || all[0].Msg != lostMessage || all[0].Lines != 1 || all[1].Msg != "next" {
		t.Errorf("the log is %+v", all)
	}
}

func TestWithAndGroups(t *testing.T) {
	var out bytes.Buffer
	q, handler := New(&out, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) })
	slog.New(handler).With("edge", "a").WithGroup("g").Info("x", "n", 1)
	q.Close(patience)
	if !strings.Contains(out.String(), "edge=a g.n=1") {
		t.Error(out.String())
	}
}
