package owner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/wire/msg"
)

// hello announces an instance named <group>-<n>.
func (c *crowd) hello(instance string, namespaces ...string) {
	group, _, _ := strings.Cut(instance, "-")
	c.q.Hello(msg.InstanceAnnouncement{Group: group, Instance: instance, Owns: true, Namespaces: namespaces}, true)
	c.work()
}

// last returns the instance that was asked last, and the number of the assignment.
func (c *crowd) last() string {
	r := c.requests[len(c.requests)-1]
	return fmt.Sprint(r.To, " ", r.Number)
}

// answer answers the latest request about a socket, and returns the edge's verdict.
func (c *crowd) answer(s *Socket, kind Kind) Verdict {
	r := c.requests[len(c.requests)-1]
	v := c.q.Answer(s, Answer{Kind: kind, Number: r.Number, From: r.To}).Verdict
	if v == Owned || v == Taken {
		c.q.Release(s)
	}
	c.work()
	return v
}

// The group with the most specific pattern is asked: first a name, then the longest pattern, then the first group by
// name.
func TestTheMostSpecificGroupIsAsked(t *testing.T) {
	for _, scene := range []struct {
		instances []string // with their patterns
		want      string
	}{
		{[]string{"a-1 *", "b-1 /ch*", "c-1 /chat"}, "c-1 1"},
		{[]string{"a-1 *", "b-1 /ch*"}, "b-1 1"},
		{[]string{"b-1 /ch*", "a-1 /ch*"}, "a-1 1"},
		{[]string{"a-1 /other", "b-1 * /chat", "c-1 /ch*"}, "b-1 1"},
		{[]string{"a-1 /other"}, " 0"}, // no owner serves it: all services are asked
	} {
		c := newCrowd(t, 0)
		for _, instance := range scene.instances {
			fields := strings.Fields(instance)
			c.hello(fields[0], fields[1:]...)
		}
		if c.add(); c.last() != scene.want {
			t.Errorf("%q: %q is asked, want %q", scene.instances, c.last(), scene.want)
		}
	}
}

// The less busy one of two drawn at random is asked. Its sockets count, and its requests of the last 10 seconds.
func TestTheLessBusyIsAsked(t *testing.T) {
	c := newCrowd(t, 0)
	c.hello("a-1", "/chat")
	for range 100 {
		c.answer(c.add().socket, Admission)
	}
	c.now = c.now.Add(11 * time.Second)
	c.hello("a-2", "/chat")
	for n := range 50 { // without an answer
		if c.add(); c.last() != "a-2 1" {
			t.Fatalf("request %d goes to %s", n, c.last())
		}
	}
	count := map[string]int{}
	for range 200 {
		c.add()
		count[c.last()]++
	}
	if count["a-1 1"] < 50 || count["a-2 1"] < 100 {
		t.Errorf("requests went to %v", count)
	}
}

// An instance that does not answer is skipped for 2 seconds, doubling up to a minute. If no other one is left, it is
// asked again. An instance that was asked and does not become the owner is notified.
func TestSilencePassesAnInstanceOver(t *testing.T) {
	c := newCrowd(t, 0)
	c.hello("a-1", "/chat")
	s := c.add().socket
	c.hello("b-1", "/ch*")
	c.run(2100 * time.Millisecond)
	if c.last() != "b-1 2" || len(c.changed) > 0 {
		t.Fatalf("%q is asked, %q are notified", c.last(), c.changed)
	}
	c.run(4200 * time.Millisecond)
	if c.last() != "a-1 3" { // both were silent, and it is the more specific one
		t.Fatalf("%q is asked", c.last())
	}
	if v := c.answer(s, Admission); v != Owned || !slices.Equal(c.changed, []string{"b-1 2"}) {
		t.Fatalf("%v, %q are notified", v, c.changed)
	}
	i := c.q.instances.find("a", "a-1")
	if len(i.passed) > 0 {
		t.Error("it has answered, and is still skipped")
	}
	var pauses []time.Duration
	for range 8 {
		if !i.passOver("/chat", c.now, false) || i.passOver("/chat", c.now, false) {
			t.Fatal("it is skipped twice, or not at all")
		}
		pauses = append(pauses, i.passed["/chat"].pause)
		c.now = i.passed["/chat"].until
	}
	if want := []time.Duration{2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9, 60e9}; !slices.Equal(pauses, want) {
		t.Errorf("the pauses are %v", pauses)
	}
}

// An instance's admission counts although another one was asked since, or the instance itself again. The first one
// counts.
func TestALateAdmissionCounts(t *testing.T) {
	c := newCrowd(t, 0)
	c.hello("a-1", "/chat")
	s := c.add().socket
	c.hello("b-1", "/ch*")
	c.run(5 * time.Second)
	if c.last() != "a-1 3" {
		t.Fatalf("%q is asked", c.last())
	}
	for _, forged := range []Answer{
		{Kind: Admission, Number: 2, From: "a-1"}, {Kind: Admission, Number: 1, From: "b-1"}, {Kind: Admission, Number: 9, From: "a-1"},
	} {
		if v := c.q.Answer(s, forged).Verdict; v != Late {
			t.Errorf("%+v: %v", forged, v)
		}
	}
	c.changed = nil
	if v := c.q.Answer(s, Answer{Kind: Admission, Number: 1, From: "a-1"}).Verdict; v != Owned {
		t.Fatal(v)
	}
	c.q.Release(s)
	c.work()
	if v := c.q.Answer(s, Answer{Kind: Admission, Number: 2, From: "b-1"}).Verdict; v != Late {
		t.Fatal(v)
	}
	if !slices.Equal(c.changed, []string{"b-1 2", "b-1 2"}) { // when a-1 became the owner, and for its admission
		t.Errorf("%q are notified", c.changed)
	}
	for _, number := range []uint64{4, 1} { // no number of an assignment, and that of a-1's
		c.q.NotOwner(s, "a-1", number)
		if isAsked := s.request != nil; isAsked != (number == 1) {
			t.Errorf("not owner of %d: it is asked: %v", number, isAsked)
		}
	}
}

// If an instance has gone, another one is asked at once, even if it was silent lately: a client that does not wait
// must not be refused while it lives.
func TestASilentInstanceIsAskedBeforeAClientIsRefused(t *testing.T) {
	c := newCrowd(t, 0)
	c.refuses = true
	c.hello("b-1", "/chat")
	c.add()
	c.run(2100 * time.Millisecond) // it is busy
	c.hello("a-1", "/chat")
	c.publish = func(s *Socket) {
		if r := c.requests[len(c.requests)-1]; r.To == "a-1" {
			c.q.Answer(s, Answer{Kind: NoResponders})
		}
	}
	s := c.add().socket
	c.run(2200 * time.Millisecond)
	if c.last() != "b-1 2" || len(c.undecided) > 0 {
		t.Fatalf("%q is asked, %v", c.last(), c.undecided)
	}
	if v := c.answer(s, Admission); v != Owned {
		t.Fatal(v)
	}
	c.publish = func(s *Socket) { c.q.Answer(s, Answer{Kind: NoResponders}) }
	c.add()
	c.run(2300 * time.Millisecond)
	if len(c.undecided) == 0 || c.undecided[0] != NoService { // both have gone
		t.Errorf("%v", c.undecided)
	}
}

// A crowd gets in through instances that need longer for all of it than the edge waits for an answer, and they are not
// asked about each socket every 2 seconds.
func TestACrowdAtBusyInstancesGetsIn(t *testing.T) {
	const sockets, each = 1000, 10 * time.Millisecond
	c := newCrowd(t, 0)
	type asked struct {
		s *Socket
		Answer
	}
	queues := map[string][]asked{"a-1": nil, "a-2": nil}
	for instance := range queues {
		c.hello(instance, "/chat")
	}
	requests := 0
	c.publish = func(s *Socket) {
		r := c.requests[len(c.requests)-1]
		requests++
		queues[r.To] = append(queues[r.To], asked{s, Answer{Kind: Admission, Number: r.Number, From: r.To}})
	}
	for range sockets {
		c.add()
	}
	owned := 0
	for at := each; owned < sockets && at < 10*time.Second; at += each {
		c.run(at)
		for instance, queue := range queues {
			if len(queue) == 0 {
				continue
			}
			if queues[instance] = queue[1:]; c.q.Answer(queue[0].s, queue[0].Answer).Verdict == Owned {
				owned++
			}
		}
	}
	if owned < sockets || requests > 2*sockets {
		t.Errorf("%d of %d sockets are owned after 10 seconds, and %d requests", owned, sockets, requests)
	}
}

// A group that answers "not mine" is not asked for a minute; the next one is. An owned socket stays in its group.
func TestNotMine(t *testing.T) {
	c := newCrowd(t, 0)
	c.hello("a-1", "/chat")
	c.hello("a-2", "/chat")
	c.hello("b-1", "*")
	s := c.add().socket
	c.answer(s, NotMine)
	c.run(100 * time.Millisecond)
	if c.last() != "b-1 2" || c.answer(s, Admission) != Owned || len(c.changed) > 0 {
		t.Fatalf("%q is asked, %q are notified", c.last(), c.changed)
	}
	if c.add(); c.last() != "b-1 1" {
		t.Errorf("%q is asked about another socket", c.last())
	}
	c.hello("c-1", "/chat")
	c.q.Left(msg.InstanceAnnouncement{Group: "b", Instance: "b-1"}, true)
	c.work()
	before := len(c.requests)
	c.run(5 * time.Second)
	for _, r := range c.requests[before:] {
		if r.Handover {
			t.Errorf("%q is to take over a socket of group b", r.To)
		}
	}
	c.hello("b-2", "*")
	c.run(6 * time.Second)
	if r := c.requests[len(c.requests)-1]; r.To != "b-2" || !r.Handover || r.From != "b-1" {
		t.Errorf("%+v", r)
	}
}

// An instance that owns another socket of the session comes first, then one that is asked about one: within the group
// that is asked, and until it was asked about this socket.
func TestTheInstanceOfASiblingComesFirst(t *testing.T) {
	c := newCrowd(t, 0)
	for _, instance := range []string{"b-1", "b-2", "b-3"} {
		c.hello(instance, "/chat")
	}
	first := c.add()
	was := first.socket.instance.name
	c.siblings = []*Socket{first.socket}
	for range 20 { // while it is asked, and busier than the others
		if c.add(); c.requests[len(c.requests)-1].To != was {
			t.Fatalf("%s is asked about the first socket, and %s about another one of the session", was, c.last())
		}
	}
	second := c.add().socket
	owner := map[string]string{"b-1": "b-2", "b-2": "b-3", "b-3": "b-1"}[was]
	second.instance = c.q.instances.find("b", owner)
	c.q.drop(second.request) // as if it had been admitted there
	c.siblings = []*Socket{first.socket, second}
	for range 20 {
		if c.add(); c.requests[len(c.requests)-1].To != owner {
			t.Fatalf("%s owns a socket of the session, and %s is asked", owner, c.last())
		}
	}
	third := c.add().socket
	c.answer(third, AskAgain)
	c.run(time.Second)
	if r := c.requests[len(c.requests)-1]; r.To == owner {
		t.Errorf("%s has said again, and is asked again", owner)
	}
	c.hello("a-1", "/chat")
	if c.add(); c.last() != "a-1 1" {
		t.Errorf("%s is asked, although another group comes first", c.last())
	}
}
