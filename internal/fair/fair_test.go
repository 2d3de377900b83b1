package fair

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wait puts items into a channel, and from there into lines. The first letter of a word is its name; ! is none.
func wait(l *Lines[string], words string) (dropped int) {
	channel := make(chan string, 1000)
	for word := range strings.FieldsSeq(words) {
		channel <- word
	}
	dropped, _ = l.Keep(channel)
	return dropped
}

// all takes everything, in chunks. Marks have brackets.
func all(l *Lines[string], chunk int) (words []string) {
	for {
		into := make([]Item[string], chunk)
		n, _ := l.Take(into)
		if n == 0 {
			return words
		}
		for _, item := range into[:n] {
			if item.Lost {
				item.Value = "(" + item.Value + ")"
			}
			words = append(words, item.Value)
		}
	}
}

func newLines(capacity int) *Lines[string] {
	name := func(word string) string { return strings.TrimPrefix(word[:1], "!") }
	return New(capacity, name, name)
}

// Names take turns, and each keeps its order.
func TestLinesTakeTurns(t *testing.T) {
	l := newLines(100)
	wait(l, "a1 a2 a3 a4 a5 b1 c1 c2 c3")
	if got, want := strings.Join(all(l, 2), " "), "a1 a2 b1 c1 c2 a3 a4 c3 a5"; got != want {
		t.Errorf("the turns are %s, want %s", got, want)
	}
	if l.IsBehind() || l.Len() != 0 || len(l.byName) > 0 {
		t.Errorf("left behind: %t, %d items, %d lines", l.IsBehind(), l.Len(), len(l.byName))
	}
}

// What has no name is handled before all that came later, and before what waits longer.
func TestNoName(t *testing.T) {
	l := newLines(100)
	var got []string
	wait(l, "a1 a2 b1 !1 a3 b2 !2")
	into := make([]Item[string], 8)
	n, others := l.Take(into)
	for _, item := range into[:n] {
		got = append(got, item.Value)
	}
	if got = append(got, all(l, 8)...); strings.Join(got, " ") != "!1 !2 a1 a2 a3 b1 b2" || !others {
		t.Errorf("they come as %s; others wait: %t", got, others)
	}
}

// A line that grows and shrinks keeps its order and does not keep what was taken.
func TestALineThatIsNeverEmpty(t *testing.T) {
	l := newLines(1000)
	var got, want []string
	next := 0
	for range 100 {
		channel := make(chan string, 10)
		for range 3 {
			word := "a" + strconv.Itoa(next)
			channel <- word
			want = append(want, word)
			next++
		}
		l.Keep(channel)
		var chunk [2]Item[string]
		n, _ := l.Take(chunk[:])
		for _, item := range chunk[:n] {
			got = append(got, item.Value)
		}
	}
	if one := l.byName["a"]; len(one.items) > 2*l.Len() {
		t.Errorf("%d items wait in a list of %d", l.Len(), len(one.items))
	}
	if got = append(got, all(l, 7)...); !slices.Equal(got, want) {
		t.Errorf("the order is %v", got)
	}
}

// A name that overflows leaves room for others: half of all, then a third of all. What was dropped leaves one mark.
func TestALineOverflows(t *testing.T) {
	l := newLines(12)
	if dropped := wait(l, strings.Repeat("a ", 20)); dropped != 14 {
		t.Errorf("%d of the first name's items were dropped, want all but 6", dropped)
	}
	if dropped := wait(l, strings.Repeat("b ", 3)); dropped != 0 {
		t.Errorf("%d of the second one's items were dropped", dropped)
	}
	if dropped := wait(l, "c d"); dropped != 0 {
		t.Errorf("%d items of others were dropped", dropped)
	}
	if n := l.Len(); n != 11 {
		t.Errorf("%d items wait", n)
	}
	if got, want := strings.Join(all(l, 100), " "), "a a a a a a (a) b b b c d"; got != want {
		t.Errorf("there were %s, want %s", got, want)
	}
	if n := l.Len(); n != 0 {
		t.Errorf("%d items wait still", n)
	}
}

// IsUrgent shows that another line waits than the one that was taken from, or very many items.
func TestIsUrgent(t *testing.T) {
	l := newLines(8)
	wait(l, "a1 a2")
	var chunk [1]Item[string]
	if l.Take(chunk[:]); l.IsUrgent() {
		t.Error("one line is urgent beside itself")
	}
	if wait(l, "b1"); !l.IsUrgent() {
		t.Error("another line is not urgent")
	}
	all(l, 1)
	wait(l, "a1 a2 a3 a4")
	if l.Take(chunk[:]); !l.IsUrgent() {
		t.Error("more than a quarter of the capacity is not urgent")
	}
}
