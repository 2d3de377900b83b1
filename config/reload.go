package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"partyline/rule"
)

// Running is the configuration of a running program: what it began with, and what came since.
type Running struct {
	flavour Flavour
	began   Config
	now     Config
	seen    map[string]rule.Namespace // of all its configurations
}

// NewRunning is that of a program that begins.
func NewRunning(f Flavour, c Config) *Running {
	return &Running{flavour: f, began: c, now: c, seen: maps.Clone(c.Namespaces)}
}

// Use notes that the program goes on with another configuration, for which Restarts has no faults.
func (r *Running) Use(c Config) {
	r.now = c
	maps.Copy(r.seen, c.Namespaces)
}

// Changes lists the keys and sections that another configuration changes.
func (r *Running) Changes(c Config) (names []string) {
	was, is := r.now.values(), c.values()
	for _, k := range keysOf(r.flavour) {
		if !reflect.DeepEqual(was.Get(k.name), is.Get(k.name)) {
			names = append(names, k.name)
		}
	}
	for _, section := range []struct {
		name    string
		was, is any
	}{
		{namespacesKey, r.now.Namespaces, c.Namespaces}, {tokensKey, r.now.Tokens, c.Tokens},
		{hooksKey, r.now.Hooks, c.Hooks}, {apiKeysKey, r.now.API.Keys, c.API.Keys},
	} {
		if slices.Contains(sectionsOf(r.flavour), section.name) && !reflect.DeepEqual(section.was, section.is) {
			names = append(names, section.name)
		}
	}
	return names
}

// Restarts returns all that keeps the program from going on with another configuration: what needs a restart, by its
// place. None: it can.
func (r *Running) Restarts(next Loaded) (faults Faults) {
	c := next.Config
	refuse := func(where, format string, args ...any) {
		faults = append(faults, Fault{where, "needs a restart: " + fmt.Sprintf(format, args...)})
	}
	was, is := r.began.values(), c.values()
	for _, k := range keysOf(r.flavour) {
		if value := was.Get(k.name); !k.live && !reflect.DeepEqual(value, is.Get(k.name)) {
			refuse(next.at(k.name), "the program runs with %v", shownValue(withoutSecret(k.name, value)))
		}
	}
	if r.flavour != FlavourGateway {
		r.restartsEdge(c, refuse)
	}
	if r.flavour != FlavourEdge {
		if r.began.HasUI() != c.HasUI() {
			refuse(next.at("ui.users_file"), "it switches the Admin UI on or off")
		}
		if !slices.Equal(hooked(r.began), hooked(c)) {
			refuse(hooksKey, "the program owns the sockets of the namespaces %s, and no others", strings.Join(hooked(r.began), ", "))
		}
	}
	return faults
}

// hooked lists the namespaces and patterns that hooks name.
func hooked(c Config) (names []string) {
	for _, h := range c.Hooks {
		names = append(names, h.Namespaces...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shownValue is a value of a key in a sentence.
func shownValue(value any) any {
	if text := showDefault(value); text != "" {
		return text
	}
	return "none"
}

// restartsEdge is Restarts for the namespaces. What their sockets share cannot change while there are any.
func (r *Running) restartsEdge(c Config, refuse func(where, format string, args ...any)) {
	if r.began.Open != c.Open {
		refuse(namespacesKey, "without this section everything is open, and only loopback is served")
		return
	}
	if r.began.LogAge() < c.LogAge() {
		refuse(namespacesKey, "recovery and rewind would need the events of the last %s, and the log keeps %s", c.LogAge(), r.began.LogAge())
	}
	showed := rule.ShowPresence(r.began.Namespaces)
	for _, name := range slices.Sorted(maps.Keys(c.Namespaces)) {
		ns, before := c.Namespaces[name], r.began.Namespaces[name]
		where := namespacesKey + ": " + quote(name)
		if ns.IsLogged() && !before.IsLogged() {
			refuse(where, "it had neither recovery nor rewind at the start, so the log does not have its events")
		}
		if ns.Presence.IsOn() && !showed {
			refuse(where, "no namespace showed presence at the start")
		}
	}
	for _, name := range mixed(r.seen, c.Namespaces) {
		refuse(namespacesKey+": "+quote(name), "it, or what declares the same names, has another presence, or recovery or rewind in place of none, "+
			"which all sockets of a namespace share")
	}
}

// shared is what the sockets of a namespace share.
type shared struct {
	isLogged, recovers bool
	presence           rule.Presence
}

func sharedOf(n *rule.Namespace) shared { return shared{n.IsLogged(), n.Recovery.For > 0, n.Presence} }

func isAlike(a, b *rule.Namespace) bool { return reflect.DeepEqual(sharedOf(a), sharedOf(b)) }

// mixed lists the names and patterns because of which sockets of one namespace could differ in what they share, if some
// have the rules of before, and some those of after.
func mixed(before, after map[string]rule.Namespace) (names []string) {
	books := []*rule.Book{rule.NewBook(before), rule.NewBook(after)}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, isOld := before[name]
		is, isNew := after[name]
		switch isPattern := strings.Contains(name, "*"); {
		case isOld && isNew:
			if !isAlike(&was, &is) {
				names = append(names, name)
			}
		case !isPattern:
			if old, found := books[0].Find(name), books[1].Find(name); old != nil && found != nil && !isAlike(&old.Namespace, &found.Namespace) {
				names = append(names, name)
			}
		default: // names that match it had, or get, the rules of another pattern
			own := all[name]
			for other, declared := range all {
				if other != name && strings.Contains(other, "*") && mayOverlap(name, other) && !isAlike(&own, &declared) {
					names = append(names, name)
					break
				}
			}
		}
	}
	return names
}

// mayOverlap reports whether a name could match both patterns, as far as their ends show.
func mayOverlap(a, b string) bool {
	beginA, _, _ := strings.Cut(a, "*")
	beginB, _, _ := strings.Cut(b, "*")
	endA, endB := a[strings.LastIndexByte(a, '*')+1:], b[strings.LastIndexByte(b, '*')+1:]
	return (strings.HasPrefix(beginA, beginB) || strings.HasPrefix(beginB, beginA)) &&
		(strings.HasSuffix(endA, endB) || strings.HasSuffix(endB, endA))
}
