package owner

import (
	"fmt"
	"testing"

	"partyline/subjects"
	"partyline/wire/msg"
)

// hears does what an edge does with an announcement.
func (c *crowd) hears(group, name, word string) bool {
	if !c.q.Hears(group, name, word) {
		return false
	}
	c.q.Hello(msg.InstanceAnnouncement{Group: group, Instance: name, Owns: true, Namespaces: []string{"/chat"}}, word == subjects.WordHello)
	return true
}

// A group that makes up instances leaves room for those of others, and the worker looks at requests once for all of
// them.
func TestInventedInstances(t *testing.T) {
	c := newCrowd(t, 100)
	c.work()
	heard := 0
	for n := range 20_000 {
		if c.hears("greedy", fmt.Sprintf("greedy-%d", n), subjects.WordHello) {
			heard++
		}
	}
	if heard != maxInstances/2 || len(c.q.instances.all) != heard || c.q.stats.unheard.Value() != uint64(20_000-heard) {
		t.Errorf("%d instances were heard, %d are known, %d were counted as not heard", heard, len(c.q.instances.all), c.q.stats.unheard.Value())
	}
	if len(c.worker) != 1 {
		t.Errorf("the worker has %d things to do", len(c.worker))
	}
	c.work()
	if !c.hears("chat", "chat-1", subjects.WordHello) {
		t.Error("there is no room for another group")
	}
	c.work()
	c.now = c.now.Add(2 * msg.DeadAfter)
	c.q.Tick(false)
	c.work()
	if is := &c.q.instances; len(is.all)+len(is.byName)+is.places.Used() != 0 {
		t.Errorf("left behind: %d instances, %d names, %d places", len(is.all), len(is.byName), is.places.Used())
	}
}

// The same word of the same instance counts once in minGap; another word, and another instance, count at once.
func TestRepeatedAnnouncements(t *testing.T) {
	c := newCrowd(t, 0)
	for _, step := range []struct {
		name, word string
		want       bool
	}{
		{"a-1", subjects.WordHello, true} /* unknown before */, {"a-1", subjects.WordBeat, true}, {"a-1", subjects.WordBeat, false},
		{"a-2", subjects.WordBeat, true}, {"a-1", subjects.WordHello, true}, {"a-1", subjects.WordHello, false},
	} {
		if got := c.hears("a", step.name, step.word); got != step.want {
			t.Errorf("%s of %s: %v", step.word, step.name, got)
		}
	}
	c.now = c.now.Add(minGap)
	if !c.hears("a", "a-1", subjects.WordBeat) || !c.q.Hears("a", "unknown", subjects.WordBye) {
		t.Error("an announcement does not count")
	}
}
