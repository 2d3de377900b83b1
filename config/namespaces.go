package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"partyline/edge"
	"partyline/subjects"
	"partyline/wire/msg"
)

// namespaceDecoder reads a `namespaces` section, from the file or from JSON, and checks it where the lines are known.
type namespaceDecoder struct {
	*loader
	place func(*yaml.Node) string // where a node stands
}

// ownEvents are answered by the edge itself where `rooms` allows them.
var ownEvents = []string{"join", "leave"}

var relayTargets = []string{edge.ToRooms, edge.ToRoom, edge.ToSocket, edge.ToAll, edge.ToRoomsOrAll}

// note notes a fault at a node; path says what it is, such as `namespaces: "/chat": relay[0]`.
func (d *namespaceDecoder) note(n *yaml.Node, path, format string, args ...any) {
	d.fault(d.place(n)+": "+path, format, args...)
}

// namespaces never returns nil: a section that is empty or bad is still a section, and must not open everything.
func (d *namespaceDecoder) namespaces(n *yaml.Node) map[string]edge.Namespace {
	declared := map[string]edge.Namespace{}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 || isNull(n) {
		d.note(n, namespacesKey, "declares none, so that no client could connect; declare one, such as \"/\": {connect: service}, or remove the key for the default")
		return declared
	}
	d.fields(n, namespacesKey, nil, func(label, value *yaml.Node) {
		path := namespacesKey + ": " + quote(label.Value)
		if problem := badNamespaceName(label.Value); problem != "" {
			d.note(label, path, "%s", problem)
		}
		declared[label.Value] = d.namespace(value, path)
	})
	return declared
}

// badNamespaceName says what is wrong with a name or pattern, or "".
func badNamespaceName(name string) string {
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "*") {
		return "a namespace begins with a slash; write " + quote("/"+name)
	}
	if strings.Contains(name, "*") {
		return "" // a pattern: the names that match it are checked when clients send them
	}
	if _, err := subjects.AppendNamespace(nil, name); err != nil {
		return fmt.Sprintf("cannot be part of a NATS subject: %v", err)
	}
	return ""
}

func (d *namespaceDecoder) namespace(n *yaml.Node, path string) edge.Namespace {
	ns := edge.Namespace{Connect: edge.ConnectService, ConnectTimeout: edge.DefaultConnectTimeout}
	if isNull(n) {
		return ns // `"/chat":` declares it with the defaults
	}
	known := []string{"connect", "connect_timeout", "unavailable", "rooms", "auto_join", "relay", "strict_interest"}
	d.fields(n, path, known, func(label, value *yaml.Node) {
		path := path + ": " + label.Value
		switch label.Value {
		case "connect":
			ns.Connect = d.oneOf(value, path, edge.ConnectService, edge.ConnectOpen)
		case "connect_timeout":
			ns.ConnectTimeout = d.duration(value, path)
		case "unavailable":
			ns.Unavailable = d.oneOf(value, path, edge.UnavailableWait, edge.UnavailableRefuse)
		case "rooms":
			ns.Rooms = d.texts(value, path, badRoomPattern)
		case "auto_join":
			ns.AutoJoin = d.texts(value, path, badRoomName)
		case "relay":
			ns.Relay = d.relay(value, path)
		case "strict_interest": // accepted for one release after it lost its meaning
			d.boolean(value, path)
			d.warnings = append(d.warnings, d.place(value)+": "+path+": has no effect: an edge never hears rooms without a member. Remove it; the next release refuses it")
		}
	})
	return ns
}

func (d *namespaceDecoder) relay(n *yaml.Node, path string) []edge.Relay {
	if n.Kind != yaml.SequenceNode {
		d.note(n, path, "must be a list of rules such as [{event: message, to: rooms}], not %s", describe(n))
		return nil
	}
	var rules []edge.Relay
	for i, item := range n.Content {
		item, path := resolved(item), fmt.Sprintf("%s[%d]", path, i)
		rule, given := edge.Relay{}, map[string]bool{}
		ok := d.fields(item, path, []string{"event", "to", "self"}, func(label, value *yaml.Node) {
			path := path + ": " + label.Value
			given[label.Value] = true
			switch label.Value {
			case "event":
				rule.Event = d.event(value, path)
			case "to":
				rule.To = d.oneOf(value, path, relayTargets...)
			case "self":
				rule.Self = d.boolean(value, path)
			}
		})
		if ok && !given["event"] {
			d.note(item, path, "has no event; name the clients' event (or a pattern) that it passes on")
		}
		if ok && !given["to"] {
			d.note(item, path, "has no to; write one of %s", strings.Join(relayTargets, ", "))
		}
		rules = append(rules, rule)
	}
	return rules
}

// event reads the event of a relay rule.
func (d *namespaceDecoder) event(n *yaml.Node, path string) string {
	name, ok := d.scalar(n, path)
	switch {
	case !ok:
	case name == "":
		d.note(n, path, "is empty; name the clients' event (or a pattern) that the rule passes on")
	case msg.IsReserved(name):
		d.note(n, path, "%s is a reserved name, which no client can emit; choose another", quote(name))
	case slices.Contains(ownEvents, name):
		d.note(n, path, "%s is answered by the edge itself (see rooms) and is never passed on; choose another", quote(name))
	}
	return name
}

// fields calls take for each known entry of a mapping (each at all if known is nil), and notes repeated and unknown
// ones. It returns false if n is no mapping.
func (d *namespaceDecoder) fields(n *yaml.Node, path string, known []string, take func(label, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		d.note(n, path, "must hold keys (key: value), not %s", describe(n))
		return false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		label, value := n.Content[i], resolved(n.Content[i+1])
		switch {
		case seen[label.Value]:
			d.note(label, path, "%s is given twice; remove one", quote(label.Value))
		case known != nil && !slices.Contains(known, label.Value):
			d.note(label, path, "unknown key %s%s", quote(label.Value), didYouMean(label.Value, known))
		default:
			take(label, value)
		}
		seen[label.Value] = true
	}
	return true
}

func (d *namespaceDecoder) scalar(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.note(n, path, "must be a single value, not %s", describe(n))
		return "", false
	}
	return n.Value, true
}

func (d *namespaceDecoder) oneOf(n *yaml.Node, path string, allowed ...string) string {
	value, ok := d.scalar(n, path)
	if ok && !slices.Contains(allowed, value) {
		d.note(n, path, "%s is not one of %s%s", quote(value), strings.Join(allowed, ", "), didYouMean(value, allowed))
	}
	return value
}

func (d *namespaceDecoder) boolean(n *yaml.Node, path string) bool {
	value, ok := d.scalar(n, path)
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		d.note(n, path, "%s is neither true nor false", quote(value))
	}
	return b
}

func (d *namespaceDecoder) duration(n *yaml.Node, path string) time.Duration {
	value, ok := d.scalar(n, path)
	if !ok {
		return 0
	}
	parsed, problem := parseDuration(value)
	if problem != "" {
		d.note(n, path, "%s", problem)
		return 0
	}
	t := parsed.(time.Duration)
	if t < time.Millisecond {
		d.note(n, path, "%s is too short; write at least 1ms", t)
	}
	return t
}

// texts reads a list of texts, each checked by bad.
func (d *namespaceDecoder) texts(n *yaml.Node, path string, bad func(string) string) []string {
	if n.Kind != yaml.SequenceNode {
		d.note(n, path, "must be a list such as [a, b], not %s", describe(n))
		return nil
	}
	var items []string
	for i, item := range n.Content {
		path := fmt.Sprintf("%s[%d]", path, i)
		value, ok := d.scalar(resolved(item), path)
		if !ok {
			continue
		}
		if problem := bad(value); problem != "" {
			d.note(item, path, "%s", problem)
		}
		items = append(items, value)
	}
	return items
}

func badRoomPattern(s string) string {
	if s == "" {
		return "is empty; write a room's name or a pattern, * for any room"
	}
	return ""
}

func badRoomName(s string) string {
	if s == "" {
		return "is empty; write a room's name"
	}
	if strings.Contains(s, "*") {
		return quote(s) + " is a pattern; a socket enters rooms by their exact names"
	}
	if subjects.IsSocketID(s) {
		return quote(s) + " has the form of a socket id, which no room may have"
	}
	if _, err := subjects.AppendRoom(nil, s); err != nil {
		return fmt.Sprintf("%s cannot be part of a NATS subject: %v", quote(s), err)
	}
	return ""
}
