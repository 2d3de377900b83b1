package edge

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"partyline/internal/tally"
)

// A snapshot stays as it was whatever happens to the list afterwards, and the list stays right.
func TestMembersSnapshots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m members
	var want []*socket // in any order
	type taken struct{ snapshot, copied []*socket }
	var snapshots []taken
	places := map[*socket]int{}
	for range 5000 {
		switch n := random.IntN(10); {
		case n < 5:
			s := &socket{}
			places[s] = m.add(s)
			want = append(want, s)
		case n < 9 && len(want) > 0:
			i := random.IntN(len(want))
			s := want[i]
			want = slices.Delete(want, i, i+1)
			at := places[s]
			delete(places, s)
			if moved := m.removeAt(at); moved != nil {
				places[moved] = at
			}
		default:
			s := m.snapshot()
			snapshots = append(snapshots, taken{s, slices.Clone(s)})
		}
	}
	if len(m.list) != len(want) {
		t.Fatalf("%d members, want %d", len(m.list), len(want))
	}
	for s, at := range places {
		if m.list[at] != s {
			t.Fatal("a member is not in its place")
		}
	}
	for i, s := range snapshots {
		if !slices.Equal(s.snapshot, s.copied) {
			t.Fatalf("snapshot %d has changed", i)
		}
	}
}

func TestRuleBookPrefersExactThenLongest(t *testing.T) {
	book := newRuleBook(map[string]Namespace{
		"*": {Rooms: []string{"any"}}, "/a*": {Rooms: []string{"a"}}, "/ab*": {Rooms: []string{"ab"}}, "/abc": {Rooms: []string{"exact"}},
	})
	for name, want := range map[string]string{"/abc": "exact", "/abx": "ab", "/ax": "a", "/": "any"} {
		if got := book.find(name); got == nil || got.Rooms[0] != want {
			t.Errorf("%s found %v, want %s", name, got, want)
		}
	}
	declared := newRuleBook(map[string]Namespace{"/": {}})
	if rules := declared.find("/other"); rules != nil {
		t.Errorf("an undeclared namespace found %v", rules)
	}
}

// What is counted a namespace stands under what declares it, however many there are, and a rule that never applies nowhere.
func TestMetricsOfRules(t *testing.T) {
	book := newRuleBook(map[string]Namespace{
		"/tenant-*": {Relay: []Relay{{Event: "say", To: ToAll}, {Event: "order.*", To: ToAll}, {Event: "say", To: ToRooms}}}, "/": {},
	})
	for _, event := range []string{"say", "say", "order.1", "other"} {
		book.find("/tenant-1").relay([]byte(event))
	}
	book.find("/tenant-2").relay([]byte("say"))
	book.find("/tenant-2").sockets.Add(7)
	var set tally.Set
	book.metrics(&set)
	got := map[string]float64{}
	for _, m := range set.Metrics() {
		got[m.Name+" "+m.Value()] = m.Read()
	}
	want := map[string]float64{
		"sockets_by_namespace /": 0, "sockets_by_namespace /tenant-*": 7,
		"relay_rule_hits_total /tenant-* say": 3, "relay_rule_hits_total /tenant-* order.*": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
