package rule

import (
	"maps"
	"testing"

	"partyline/internal/tally"
)

func TestRuleBookPrefersExactThenLongest(t *testing.T) {
	book := NewBook(map[string]Namespace{
		"*": {Rooms: []string{"any"}}, "/a*": {Rooms: []string{"a"}}, "/ab*": {Rooms: []string{"ab"}}, "/abc": {Rooms: []string{"exact"}},
	})
	for name, want := range map[string]string{"/abc": "exact", "/abx": "ab", "/ax": "a", "/": "any"} {
		if got := book.Find(name); got == nil || got.Rooms[0] != want {
			t.Errorf("%s found %v, want %s", name, got, want)
		}
	}
	declared := NewBook(map[string]Namespace{"/": {}})
	if rules := declared.Find("/other"); rules != nil {
		t.Errorf("an undeclared namespace found %v", rules)
	}
}

// The first rule whose pattern matches a room says what it rewinds. Recovery and rewind, each alone, need the log.
func TestRewindOf(t *testing.T) {
	n := Namespace{Rewind: []Rewind{{Room: "news-*", Messages: 1}, {Room: "news-1", Messages: 2}, {Room: "chat", Messages: 3}}}
	for room, want := range map[string]int{"news-1": 1, "chat": 3, "news": 0} {
		if got := n.RewindOf([]byte(room)); got == nil && want > 0 || got != nil && got.Messages != want {
			t.Errorf("%s has the rule %v, want that of %d messages", room, got, want)
		}
	}
	recovers := Namespace{Recovery: Recovery{For: 1}}
	if none := (Namespace{}); !n.IsLogged() || !recovers.IsLogged() || none.IsLogged() {
		t.Errorf("logged: %t, %t, %t; want true, true, false", n.IsLogged(), recovers.IsLogged(), none.IsLogged())
	}
}

// Figures of a namespace are counted under the rule that declares it, for any number of namespaces. A rule that never
// applies has none.
func TestMetricsOfRules(t *testing.T) {
	book := NewBook(map[string]Namespace{
		"/tenant-*": {Relay: []Relay{{Event: "say", To: ToAll}, {Event: "order.*", To: ToAll}, {Event: "say", To: ToRooms}}}, "/": {},
	})
	for _, event := range []string{"say", "say", "order.1", "other"} {
		book.Find("/tenant-1").RelayOf([]byte(event))
	}
	book.Find("/tenant-2").RelayOf([]byte("say"))
	book.Find("/tenant-2").Sockets.Add(7)
	book.Find("/tenant-1").Slowed.Inc()
	var set tally.Set
	book.Metrics(&set)
	got := map[string]float64{}
	for _, m := range set.Metrics() {
		got[m.Name+" "+m.Value()] = m.Read()
	}
	want := map[string]float64{
		"sockets_by_namespace /": 0, "sockets_by_namespace /tenant-*": 7,
		"events_slowed_total /": 0, "events_slowed_total /tenant-*": 1,
		"relay_rule_hits_total /tenant-* say": 3, "relay_rule_hits_total /tenant-* order.*": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
