package engine

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// While others have all turns, a busy client waits, and a quiet one does not.
func TestBusyClientsWaitForATurn(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		send := func(ws *websocket.Conn, n int) {
			for range n {
				_ = ws.WriteMessage(websocket.TextMessage, []byte("4x"))
			}
		}
		busy, quiet := s.open(), s.open()
		defer busy.Close()
		defer quiet.Close()
		turns := s.server.turns.free
		for range cap(turns) {
			turns <- struct{}{}
		}
		go send(busy, busyFrom+10)
		send(quiet, busyFrom/2)
		synctest.Wait()
		for i, want := range []int{busyFrom + 1, busyFrom / 2} { // the first packet after a quiet time does not count
			if got := len(s.sessions[i].messages()); got != want {
				t.Errorf("without a free turn %d messages of client %d were handled, want %d", got, i, want)
			}
		}
		<-turns
		synctest.Wait()
		if got := len(s.sessions[0].messages()); got != busyFrom+10 {
			t.Errorf("with a free turn %d messages were handled", got)
		}
		time.Sleep(3 * time.Second)
		turns <- struct{}{}
		send(busy, 10)
		synctest.Wait()
		if got := len(s.sessions[0].messages()); got != busyFrom+20 {
			t.Errorf("after a quiet time %d messages were handled", got)
		}
	})
}

// A receiver that waits gives its turn to others.
func TestAReceiverGivesItsTurnBack(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		free := make(chan struct{})
		first, second := s.open(), s.open()
		defer first.Close()
		defer second.Close()
		s.sessions[0].onData = func(data []byte, _ bool) {
			if string(data) == "wait" {
				s.sessions[0].session.EndTurn()
				s.sessions[0].session.EndTurn()
				<-free
			}
		}
		for i := range busyFrom + 10 {
			_ = first.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "4%d", i))
			_ = second.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "4%d", i))
		}
		for range cap(s.server.turns.free) {
			_ = first.WriteMessage(websocket.TextMessage, []byte("4wait"))
		}
		_ = second.WriteMessage(websocket.TextMessage, []byte("4last"))
		if got := s.sessions[1].messages(); got[len(got)-1] != "last" {
			t.Errorf("the second client's message was not handled: %d, %q", len(got), got[len(got)-1])
		}
		close(free)
		synctest.Wait()
		if n := len(s.server.turns.free); n > 0 {
			t.Errorf("%d turns did not end", n)
		}
	})
}

// A WebSocket does not wait with a turn for a POST of its session, which may wait for one.
func TestAPostOfTheSameSessionMayHaveTheTurn(t *testing.T) {
	play(t, nil, func(t *testing.T, s *stage) {
		ws := s.open()
		defer ws.Close()
		session := s.sessions[0].session
		conn, turns := session.currentTransport().(*wsConn), s.server.turns
		synctest.Wait()
		turns.take()
		conn.turn = turn{turns, time.Now()} // as between two messages of one read
		session.in.Lock()                   // as the POST
		_ = ws.WriteMessage(websocket.TextMessage, []byte("4x"))
		for range 1_000_000 {
			if len(turns.free) == 0 {
				break
			}
			runtime.Gosched()
		}
		if len(turns.free) > 0 {
			t.Error("the WebSocket keeps its turn")
		}
		session.in.Unlock()
		synctest.Wait()
	})
}

// A turn rests for some times as long as it worked. Rests that are too short for a timer add up.
func TestTurnsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		turns.free = make(chan struct{}, 1)
		turns.rest.Store(4)
		begin := time.Now()
		for range 20 {
			turns.take()
			turns.rest.Store(4)
			turns.end(100 * time.Microsecond)
		}
		turns.take()
		if took := time.Since(begin); took < 7*time.Millisecond || took > 8*time.Millisecond {
			t.Errorf("after 20 turns of 0.1 ms it rested for %s, want 4 times as long", took)
		}
		turns.end(0)
	})
}

// Rests grow while goroutines wait for long, and end when they do not.
func TestRestsFollowTheWaits(t *testing.T) {
	turns := newTurns()
	turns.check(time.Now())
	if turns.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		t.Fatalf("Go has no %s", waitsMetric)
	}
	note := func(all uint64, at time.Time, want int64) {
		t.Helper()
		for range 20 {
			turns.note(waits{all: turns.before.all + all, long: turns.before.long + 1}, at)
		}
		if rest := turns.rest.Load(); rest != want {
			t.Errorf("a turn rests %d times, want %d", rest, want)
		}
	}
	at := time.Now()
	note(100, at, 0) // all clients are busy
	turns.quiet.Store(at.UnixNano())
	note(100, at, mostRest)
	note(1000, at, 0)
	note(100, at, mostRest)
	note(100, at.Add(quietLasts), 0)
}

// Requests count for each address. One that sends many is busy for a second or two.
func TestBusyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c callers
		time.Sleep(time.Second)
		for i := range 3 * callsOften {
			if got, want := c.isBusy("192.0.2.1", time.Now()), i >= callsOften; got != want {
				t.Fatalf("request %d: busy is %v", i+1, got)
			}
		}
		if c.isBusy("192.0.2.2", time.Now()) {
			t.Error("another address is busy")
		}
		time.Sleep(time.Second)
		if !c.isBusy("192.0.2.1", time.Now()) {
			t.Error("in the next second it is not busy")
		}
		time.Sleep(time.Second)
		if c.isBusy("192.0.2.1", time.Now()) {
			t.Error("after a quiet second it is busy")
		}
	})
}
