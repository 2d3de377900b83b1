package recovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	var p Places
	if n := p.Enter([]string{"a", "b"}, 0); n != 2 || p.Enter([]string{"a"}, 5) != 0 {
		t.Errorf("%+v", p)
	}
	p.Since(7)
	p.Enter([]string{"c"}, 9)
	p.LeaveOthers([]string{"a", "c"}, 12)
	stays := p.Stays()
	slices.SortFunc(stays, func(x, y Span) int { return strings.Compare(x.Room, y.Room) })
	if got := fmt.Sprint(p.Start, stays); got != "7 [{a 7 0} {b 7 12} {c 9 0}]" {
		t.Error(got)
	}
	p.Read = 10
	for _, c := range []struct {
		seq   uint64
		rooms []string
		want  bool
	}{
		{11, nil, true}, {11, []string{"c"}, true}, {11, []string{"x", "a"}, true}, {11, []string{"b"}, true}, {13, []string{"b"}, false}, {11, []string{}, false},
		{10, nil, false}, {7, []string{"a"}, false},
	} {
		if p.Lacks(c.seq, c.rooms) != c.want {
			t.Errorf("%+v", c)
		}
	}
	p.Renew()
	if got := fmt.Sprint(p); got != "{0 map[a:0 c:0] [] 0 true}" {
		t.Error(got)
	}
}

func TestPastIsBounded(t *testing.T) {
	var p Places
	for i := range uint64(3 * maxPast) {
		p.Enter([]string{fmt.Sprint(i)}, i)
		p.LeaveOthers(nil, i+1)
	}
	if len(p.Past) != maxPast || p.Past[maxPast-1].To != 3*maxPast || len(p.Rooms) != 0 {
		t.Errorf("%d rooms, the last %+v", len(p.Past), p.Past[len(p.Past)-1])
	}
}
