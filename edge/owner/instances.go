package owner

import (
	"slices"
	"time"

	"partyline/internal/share"
	"partyline/subjects"
)

const (
	// maxInstances bounds the instances that an edge knows. Groups share it, because NATS permissions are given by
	// groups: a service can make up instances of its own group only.
	maxInstances = 4096
	// minGap is the least time between two hellos, and between two beats, of an instance.
	minGap = 20 * time.Millisecond
)

// arrivals are the instances that have come since requests were looked at last: one look is enough for all.
type arrivals struct {
	patterns []string             // of namespaces that they serve, each once
	back     map[string]time.Time // by name: those that may have been there before, and when they said hello
}

// came has requests published again because an instance came. Table.mu must be held.
func came(t *Table, i *Instance, namespaces []string, hello bool, now time.Time) {
	if t.arrived == nil {
		t.arrived = &arrivals{back: make(map[string]time.Time)}
		t.wire.Do(func() {
			t.mu.Lock()
			arrived := t.arrived
			t.arrived = nil
			t.mu.Unlock()
			t.hurry(Came, arrived.concern)
		})
	}
	for _, pattern := range namespaces {
		if !slices.Contains(t.arrived.patterns, pattern) {
			t.arrived.patterns = append(t.arrived.patterns, pattern)
		}
	}
	if hello {
		t.arrived.back[i.name] = now
	}
}

// concern reports whether a request may find an owner among the instances that came.
func (a *arrivals) concern(r *request) bool {
	asked := r.socket.instance
	switch {
	case r.decider != "":
		return !a.back[r.decider].IsZero() // its answer may be lost
	case !serves(a.patterns, r.socket.Client.Namespace()):
		return false
	}
	return asked == nil || r.asked.Before(a.back[asked.name]) // it may be lost with the connection that the instance had before
}

// Hears reports whether an announcement of an instance counts: there is room for the instance, and it has not said
// hello or beat just before. It costs little, so it comes before the body is read.
func (t *Table) Hears(group, name, word string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, now := t.instances.find(group, name), t.set.Now()
	if i == nil {
		if word == subjects.WordLeft || word == subjects.WordBye || t.instances.hasRoom(group) {
			return true
		}
		t.stats.unheard.Inc()
		if !t.set.Log.Busy() {
			t.set.Log.Warn("announcements of instances do not count: the group has as many instances as an edge can know", group, nil)
		}
		return false
	}
	if word != subjects.WordHello && word != subjects.WordBeat {
		return true // others may be requests
	}
	if now.Sub(i.spoke[word]) < minGap {
		t.stats.unheard.Inc()
		return false
	}
	i.spoke[word] = now
	return true
}

// instances are those that have announced themselves. Table.mu is held when its methods are called.
type instances struct {
	all    []*Instance            // oldest first
	byName map[string][]*Instance // several groups may have one of the same name
	places *share.Table           // by group
}

// find returns the instance of a group with a name, or nil.
func (is *instances) find(group, name string) *Instance {
	for _, i := range is.byName[name] {
		if i.group == group {
			return i
		}
	}
	return nil
}

// hasRoom reports whether another instance of a group can be added.
func (is *instances) hasRoom(group string) bool {
	if !is.places.Take(group, 1, 0) {
		return false
	}
	is.places.Add(group, -1)
	return true
}

// add returns the instance of a group with a name, and adds it if it is a new one. It returns nil if the group has too
// many.
func (is *instances) add(group, name string, now time.Time) *Instance {
	i := is.find(group, name)
	if i != nil || !is.places.Take(group, 1, 0) {
		return i
	}
	i = &Instance{group: group, name: name, heard: now, passed: make(map[string]passed), spoke: make(map[string]time.Time)}
	is.all = append(is.all, i)
	is.byName[name] = append(is.byName[name], i)
	return i
}

// remove removes an instance.
func (is *instances) remove(i *Instance) {
	isIt := func(other *Instance) bool { return other == i }
	is.all = slices.DeleteFunc(is.all, isIt)
	if is.byName[i.name] = slices.DeleteFunc(is.byName[i.name], isIt); len(is.byName[i.name]) == 0 {
		delete(is.byName, i.name)
	}
	is.places.Add(i.group, -1)
}
