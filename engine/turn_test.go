package engine

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/turn"
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
		turns := make([]turn.Turn, turn.Most())
		for i := range turns {
			s.server.turns.Begin(&turns[i])
		}
		go send(busy, turn.BusyFrom+10)
		send(quiet, turn.BusyFrom/2)
		synctest.Wait()
		for i, want := range []int{turn.BusyFrom + 1, turn.BusyFrom / 2} { // the first packet after a quiet time does not count
			if got := len(s.sessions[i].messages()); got != want {
				t.Errorf("without a free turn %d messages of client %d were handled, want %d", got, i, want)
			}
		}
		turns[0].End()
		synctest.Wait()
		if got := len(s.sessions[0].messages()); got != turn.BusyFrom+10 {
			t.Errorf("with a free turn %d messages were handled", got)
		}
		time.Sleep(3 * time.Second)
		s.server.turns.Begin(&turns[0])
		send(busy, 10)
		synctest.Wait()
		if got := len(s.sessions[0].messages()); got != turn.BusyFrom+20 {
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
		for i := range turn.BusyFrom + 10 {
			_ = first.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "4%d", i))
			_ = second.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "4%d", i))
		}
		for range turn.Most() {
			_ = first.WriteMessage(websocket.TextMessage, []byte("4wait"))
		}
		_ = second.WriteMessage(websocket.TextMessage, []byte("4last"))
		if got := s.sessions[1].messages(); got[len(got)-1] != "last" {
			t.Errorf("the second client's message was not handled: %d, %q", len(got), got[len(got)-1])
		}
		close(free)
		synctest.Wait()
		if n := s.server.turns.Running(); n > 0 {
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
		turns.Begin(&conn.turn) // as between two messages of one read
		session.in.Lock()       // as the POST
		_ = ws.WriteMessage(websocket.TextMessage, []byte("4x"))
		for range 1_000_000 {
			if turns.Running() == 0 {
				break
			}
			runtime.Gosched()
		}
		if turns.Running() > 0 {
			t.Error("the WebSocket keeps its turn")
		}
		session.in.Unlock()
		synctest.Wait()
	})
}
