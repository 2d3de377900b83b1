package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// The clients of an edge that is killed come back, all at the same time, after the back-off of the official client.
// The test measures; it demands that all are recovered.
func TestManyComeBack(t *testing.T) {
	if *crowds == 0 {
		t.Skip("a measurement; use -recovery.crowd=10000")
	}
	needRecovery(t)
	s := begin(t, false, slowHeart...)
	all := make([]*returning, *crowds)
	var working sync.WaitGroup
	gate := make(chan struct{}, 200)
	for i := range all {
		all[i] = &returning{s: s, auth: auth{Name: fmt.Sprint("c", i), Rooms: []string{fmt.Sprint("x", i%1000), "everyone"}}}
		working.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			all[i].visit(0)
		})
	}
	working.Wait()
	failed(t, all, 0)
	s.say("room.everyone", "hello", 0)
	edgetest.Eventually(t, "all have received it", func() bool { return count(all, func(r *returning) bool { return r.heard.Load() >= 1 }) == len(all) })
	before, own := []usage{use(s.edges[1]), use(s.edges[2])}, used(os.Getpid())
	var servers []usage
	for _, server := range s.servers {
		servers = append(servers, used(server.PID()))
	}
	t.Logf("%d clients are at edge 0: %v; the others: %v", len(all), use(s.edges[0]), before)
	killed := time.Now()
	_ = s.edges[0].Kill(syscall.SIGKILL)
	for n := range 20 {
		s.say("room.everyone", "away", n)
	}
	var mu sync.Mutex
	reasons := make(map[string]int)
	for i, one := range all {
		working.Go(func() {
			<-one.ended
			time.Sleep(time.Second/2 + rand.N(time.Second)) // reconnectionDelay and its randomization
			one.began = time.Now()
			for range 20 {
				if one.visit(1 + i%2); one.err == nil {
					break
				}
				one.attempts++
				mu.Lock()
				reasons[reasonOf(one.err)]++
				mu.Unlock()
				time.Sleep(time.Second + rand.N(time.Second))
			}
		})
	}
	peak := s.watchUse(&working)
	failed(t, all, 1)
	waits := make([]time.Duration, len(all))
	var last time.Time
	again := 0
	for i, one := range all {
		waits[i] = one.back.Sub(one.began)
		again += one.attempts
		if one.back.After(last) {
			last = one.back
		}
	}
	slices.Sort(waits)
	opening := make([]time.Duration, len(all))
	for i, one := range all {
		opening[i] = one.back.Sub(one.opened)
	}
	slices.Sort(opening)
	t.Logf("from the session to CONNECT: p50 %v, p99 %v", opening[len(opening)/2].Round(time.Millisecond), opening[len(opening)*99/100].Round(time.Millisecond))
	t.Logf("RECOVERY: %d clients: from their own back-off to CONNECT p50 %v, p99 %v, longest %v; all %v after the kill; %d attempts failed",
		len(all), waits[len(waits)/2].Round(time.Millisecond), waits[len(waits)*99/100].Round(time.Millisecond),
		waits[len(waits)-1].Round(time.Millisecond), last.Sub(killed).Round(time.Millisecond), again)
	for i, e := range s.edges[1:] {
		now := use(e)
		t.Logf("%s: %v before, %v after, %d MB at the peak, %v of CPU", e.Name, before[i], now, peak[i]>>20, now.cpu-before[i].cpu)
	}
	for why, n := range reasons {
		t.Logf("%d attempts failed: %s", n, why)
	}
	for i, server := range s.servers {
		t.Logf("NATS %s: %v of CPU", server.Called, used(server.PID()).cpu-servers[i].cpu)
	}
	t.Logf("the clients: %v of CPU", used(os.Getpid()).cpu-own.cpu)
	edgetest.Eventually(t, "all have received everything", func() bool { return count(all, func(r *returning) bool { return r.heard.Load() >= 21 }) == len(all) })
	if doubled := count(all, func(r *returning) bool { return r.heard.Load() > 21 }); doubled > 0 {
		t.Errorf("%d clients have received something twice", doubled)
	}
}

// returning is a client of the measurement.
type returning struct {
	s           *stage
	auth        auth
	sid, pid    string
	offset      atomic.Pointer[string]
	heard       atomic.Int64 // events
	ended       chan struct{}
	began, back time.Time
	opened      time.Time // when the latest session began
	attempts    int
	err         error
}

// visit connects to an edge, and goes on to read.
func (r *returning) visit(edge int) {
	via, _, err := dialSocketWithin(r.s.at[edge], 20*time.Second) // the official client's timeout
	if r.err = err; err != nil {
		return
	}
	r.opened = time.Now()
	all := map[string]any{"name": r.auth.Name, "rooms": r.auth.Rooms}
	if r.pid != "" {
		all["pid"], all["offset"] = r.pid, *r.offset.Load()
	}
	text, _ := json.Marshal(all)
	if r.err = via.send("40/chat," + string(text)); r.err != nil {
		via.end()
		return
	}
	for {
		packet, _, err := via.next()
		if err != nil {
			r.err = err
			via.end()
			return
		}
		hello, isConnect := strings.CutPrefix(packet, "40/chat,")
		if !isConnect {
			r.hear(via, packet)
			continue
		}
		var got struct{ SID, PID string }
		_ = json.Unmarshal([]byte(hello), &got)
		if r.pid != "" && (got.PID != r.pid || got.SID != r.sid) {
			r.err = fmt.Errorf("%s was not recovered", r.sid)
		}
		r.sid, r.pid, r.back = got.SID, got.PID, time.Now()
		break
	}
	ended := make(chan struct{})
	r.ended = ended
	r.s.running.Go(func() {
		<-r.s.over
		via.end()
	})
	r.s.running.Go(func() {
		defer close(ended)
		for {
			packet, _, err := via.next()
			if err != nil {
				via.end()
				return
			}
			r.hear(via, packet)
		}
	})
}

func (r *returning) hear(via transport, packet string) {
	event, isEvent := strings.CutPrefix(packet, "42/chat,")
	switch {
	case packet == "2":
		_ = via.send("3")
	case isEvent:
		_, last, _ := parse([]byte(event))
		r.offset.Store(&last)
		r.heard.Add(1)
	}
}

func count(all []*returning, is func(*returning) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}

// failed reports clients that are not there.
func failed(t *testing.T, all []*returning, round int) {
	t.Helper()
	if n := count(all, func(r *returning) bool { return r.err != nil }); n > 0 {
		i := slices.IndexFunc(all, func(r *returning) bool { return r.err != nil })
		t.Fatalf("round %d: %d of %d clients failed, the first with %v", round, n, len(all), all[i].err)
	}
}

// watchUse waits, and returns the largest memory of the edges but the first.
func (s *stage) watchUse(working *sync.WaitGroup) (peak []int64) {
	peak = make([]int64, len(s.edges)-1)
	done := make(chan struct{})
	go func() {
		working.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return peak
		case <-time.After(50 * time.Millisecond):
			for i, e := range s.edges[1:] {
				peak[i] = max(peak[i], use(e).resident)
			}
		}
	}
}

// usage is what a process has used.
type usage struct {
	resident int64
	cpu      time.Duration
}

func (u usage) String() string {
	return fmt.Sprintf("%d MB, %v", u.resident>>20, u.cpu.Round(10*time.Millisecond))
}

func use(e *stand.Edge) (u usage) { return used(e.PID()) }

// reasonOf is an error without addresses.
func reasonOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

func used(pid int) (u usage) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 22 {
		return u
	}
	const tick = 10 * time.Millisecond // of clock_t
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return usage{pages * int64(os.Getpagesize()), time.Duration(user+system) * tick}
}
