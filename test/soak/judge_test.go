package soak

import (
	"testing"
	"time"
)

// The ledger must find what it looks for. Each case changes what arrives at a receiver of four messages.
func TestLedger(t *testing.T) {
	t.Parallel()
	all := func(receive func(n int)) {
		for n := range 4 {
			receive(n)
		}
	}
	some := func(numbers ...int) func(*ledger, func(int)) {
		return func(_ *ledger, receive func(int)) {
			for _, n := range numbers {
				receive(n)
			}
		}
	}
	for name, c := range map[string]struct {
		arrives func(l *ledger, receive func(n int))
		want    counts
	}{
		"all arrive":         {some(0, 1, 2, 3), counts{deliveries: 4}},
		"one is missing":     {some(0, 1, 3), counts{deliveries: 3, lost: 1}},
		"the last ones":      {some(0, 1), counts{deliveries: 2, lost: 2}},
		"none arrives":       {some(), counts{lost: 4}},
		"one comes twice":    {some(0, 1, 1, 2, 3), counts{deliveries: 4, doubled: 1}},
		"two are exchanged":  {some(0, 2, 1, 3), counts{deliveries: 4, reordered: 1}},
		"one comes backward": {some(1, 0, 2, 3), counts{deliveries: 4, reordered: 1}},
		"in a fault": {func(l *ledger, receive func(int)) {
			l.sessions["hears"].edge.windows = []window{{from: time.Now().Add(-time.Minute)}}
			receive(3)
		}, counts{deliveries: 1, lostInFaults: 3}},
		"the sender breaks off": {func(l *ledger, _ func(int)) {
			l.sessions["speaks"].end, l.sessions["speaks"].isBroken = time.Now(), true
		}, counts{lostInFaults: 4}},
		"the sender has said farewell": {func(l *ledger, _ func(int)) { l.sessions["speaks"].end = time.Now() }, counts{lost: 4}},
		"the receiver leaves with messages under way": {func(l *ledger, receive func(int)) {
			receive(0)
			l.sessions["hears"].in["r"].to = time.Now()
		}, counts{deliveries: 1}},
		"the receiver leaves with a gap": {func(l *ledger, receive func(int)) {
			receive(0)
			receive(3)
			l.sessions["hears"].in["r"].to = time.Now()
		}, counts{deliveries: 2, lost: 2}},
		"the receiver was not there": {func(l *ledger, receive func(int)) {
			delete(l.sessions["hears"].in, "r")
			l.room("/relay", "r").members = nil
			all(receive)
		}, counts{misplaced: 4}},
		"an ack comes late after a fault": {func(l *ledger, _ func(int)) {
			hears := l.sessions["hears"]
			hears.edge.windows = []window{{from: time.Now().Add(-time.Minute)}}
			hears.calls[1] = &call{at: time.Now()}
			l.judge(0)
			if err := (&visit{session: hears, s: &stage{ledger: l}}).acked("1[]"); err != nil {
				l.wrong("%v", err)
			}
		}, counts{acks: 1, lostInFaults: 4}},
		"a session goes on": {func(l *ledger, receive func(int)) {
			hears := l.sessions["hears"]
			hears.namespace, hears.isBroken, hears.end = kept, true, time.Now()
			hears.in["r"].to = hears.end
			hears.goOn()
			receive(0)
			receive(2)
		}, counts{deliveries: 2, lost: 2}},
		"an ack is missing": {func(l *ledger, receive func(int)) {
			l.sessions["hears"].calls[1] = &call{at: time.Now()}
			all(receive)
		}, counts{deliveries: 4, acksLost: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			for _, name := range []string{"speaks", "hears"} {
				l.sessions[name] = &session{name: name, namespace: "/relay", edge: &place{name: name}, in: make(map[string]*membership),
					sent: make(map[string]int), calls: make(map[int]*call)}
			}
			l.mu.Lock()
			l.join(l.sessions["hears"], "r").from = time.Now()
			for range 4 {
				l.send(l.sessions["speaks"], "r")
			}
			l.mu.Unlock()
			c.arrives(l, func(n int) { l.receive(l.sessions["hears"], "r", "speaks", n) })
			l.judge(0)
			if l.sum.messages = 0; l.sum != c.want {
				t.Errorf("%+v, want %+v\n%v", l.sum, c.want, l.examples)
			}
		})
	}
}

// A slope is that of most of the minutes, whatever single ones say.
func TestSlope(t *testing.T) {
	t.Parallel()
	var all []minute
	for i := range 30 {
		all = append(all, minute{at: float64(i), resident: 100 + 2*float64(i)})
	}
	all[7].resident = 1e9
	if got := slope(all, func(m minute) float64 { return m.resident }); got != 2 {
		t.Errorf("slope %v, want 2", got)
	}
}
