package backend

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// Unconfirmed rooms are forgotten after a time, and bounded. Above the bound all rooms count as unconfirmed, so that
// nothing is lost.
func TestUnconfirmedRoomsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var u unconfirmed
		told := 0
		u.init(&connection{}, func(string, ...any) { told++ })
		begin := func(rooms ...string) *confirmation {
			t.Helper()
			c, err := u.begin("chat", rooms, "", false)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := begin("a", "b")
		time.Sleep(unconfirmedFor / 2)
		second := begin("a")
		u.finish(first, nil)
		if !u.has("chat", "a") || u.has("chat", "b") || u.has("other", "a") {
			t.Error("a room is unconfirmed while a request for it is")
		}
		time.Sleep(unconfirmedFor)
		if u.has("chat", "a") {
			t.Error("a room stays unconfirmed permanently")
		}
		u.tidy(time.Now())
		u.finish(second, nil)
		u.finish(second, nil)
		if u.count.Load() != 0 || len(u.waiting) != 0 || u.kept != 0 {
			t.Errorf("%d rooms, %d requests, %d kept", u.count.Load(), len(u.waiting), u.kept)
		}

		for i := range mostUnconfirmed {
			begin(fmt.Sprint("room", i))
		}
		if !u.has("chat", "any") || told != 1 || len(u.waiting) > mostUnconfirmed || len(u.rooms) > mostUnconfirmed {
			t.Errorf("a room is unconfirmed: %v, told %d times, %d requests, %d rooms", u.has("chat", "any"), told, len(u.waiting), len(u.rooms))
		}
		time.Sleep(unconfirmedFor)
		u.tidy(time.Now())
		if u.has("chat", "any") || u.has("chat", "room0") || u.wide.Load() != 0 || len(u.waiting) != 0 || u.kept != 0 || len(u.rooms) != 0 {
			t.Errorf("%d requests and %d rooms are left", len(u.waiting), len(u.rooms))
		}
	})
}

// A caller that waits longer than a room stays unconfirmed still gets the answer. Without an answer nothing is left
// behind.
func TestALateAnswerToAJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u unconfirmed
		u.init(&connection{wait: 2 * unconfirmedFor}, nil)
		u.inbox, u.sub = "inbox.", &nats.Subscription{}
		var all []*confirmation
		for range 3 {
			c, err := u.begin("chat", []string{"a"}, "aaaaaaaa", true)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		time.Sleep(unconfirmedFor)
		u.tidy(time.Now())
		u.edgeDied("aaaaaaaa")
		answer := &nats.Msg{Subject: all[0].reply, Data: []byte(`[{"edge":"aaaaaaaa","sockets":1}]`)}
		u.answered(answer)
		u.answered(answer)
		if u.has("chat", "a") || len(all[0].answer) != 1 || len(u.waiting) != 2 {
			t.Errorf("unconfirmed: %v, %d answers, %d are waited for", u.has("chat", "a"), len(all[0].answer), len(u.waiting))
		}
		time.Sleep(unconfirmedFor)
		if u.tidy(time.Now()); len(u.waiting) != 0 || len(u.rooms) != 0 || u.kept != 0 {
			t.Errorf("%d are waited for, %d kept", len(u.waiting), u.kept)
		}
	})
}

func BenchmarkUnconfirmed(b *testing.B) {
	var u unconfirmed
	u.init(&connection{}, nil)
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			u.has("chat", "room")
		}
	})
	_, _ = u.begin("chat", []string{"other"}, "", false)
	b.Run("others", func(b *testing.B) {
		for b.Loop() {
			u.has("chat", "room")
		}
	})
}
