package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// ownEvents are answered by the edge itself where `rooms` allows them.
var ownEvents = []string{"join", "leave"}

var relayTargets = []string{rule.ToRooms, rule.ToRoom, rule.ToSocket, rule.ToAll, rule.ToRoomsOrAll}

// readNamespaces reads a `namespaces` section, of the file or of a variable. It never returns nil: a section that is
// empty or bad is still a section, and must not open everything.
func readNamespaces(n node) map[string]rule.Namespace {
	declared := map[string]rule.Namespace{}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 || n.isNull() {
		n.fault("declares none, so that no client could connect; declare one, such as \"/\": {connect: service}, or remove the key for the default")
		return declared
	}
	for _, e := range n.entries("") {
		if e.first > 0 {
			n.line = e.line
			n.fault("%s is given twice; remove one", quote(e.label))
			continue
		}
		e.path += ": " + quote(e.label)
		if problem := badNamespaceName(e.label); problem != "" {
			e.fault("%s", problem)
		}
		declared[e.label] = readNamespace(e)
	}
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

func readNamespace(n node) rule.Namespace {
	ns := rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout}
	if n.isNull() {
		return ns // `"/chat":` declares it with the defaults
	}
	n.fields(
		field{"connect", func(n node) { ns.Connect = scalar(n, oneOf(rule.ConnectService, rule.ConnectOpen, rule.ConnectToken)) }},
		field{"tokens", func(n node) { ns.Tokens = readIssuerNames(n) }},
		field{"user_room", func(n node) { ns.UserRoom = scalar(n, userRoom) }},
		field{"connect_timeout", func(n node) { ns.ConnectTimeout = scalar(n, checked(parseDuration, countsMs)) }},
		field{"unavailable", func(n node) { ns.Unavailable = scalar(n, oneOf(rule.UnavailableWait, rule.UnavailableRefuse)) }},
		field{"rooms", func(n node) { ns.Rooms = readTexts(n, roomPattern) }},
		field{"auto_join", func(n node) { ns.AutoJoin = readTexts(n, roomName) }},
		field{"relay", func(n node) { ns.Relay = readRelay(n) }},
		field{"events_per_second", func(n node) { ns.EventsPerSecond = scalar(n, checked(parseNumber, isRate)) }},
		field{"events_burst", func(n node) { ns.EventsBurst = scalar(n, checked(parseNumber, isRate)) }},
		field{"recovery", func(n node) { ns.Recovery = readRecovery(n) }},
		field{"rewind", func(n node) { ns.Rewind = readRewind(n) }},
		field{"presence", func(n node) { ns.Presence = readPresence(n) }},
		field{"strict_interest", func(n node) { // accepted for one release after it lost its meaning
			scalar(n, parseBool)
			n.loader.warn("%s: has no effect: an edge never hears rooms without a member. Remove it; the next release refuses it", n.where())
		}},
	)
	validateAdmission(n, &ns)
	if ns.EventsBurst > 0 && ns.EventsPerSecond == 0 {
		n.fault("has events_burst without events_per_second; add that, or remove it")
	}
	return ns
}

func readRelay(n node) []rule.Relay {
	var rules []rule.Relay
	for _, item := range n.items("of rules such as [{event: message, to: rooms}]") {
		relay, hasEvent, hasTo := rule.Relay{}, false, false
		item.fields(
			field{"event", func(n node) { relay.Event, hasEvent = scalar(n, relayEvent), true }},
			field{"to", func(n node) { relay.To, hasTo = scalar(n, oneOf(relayTargets...)), true }},
			field{"self", func(n node) { relay.Self = scalar(n, parseBool) }},
		)
		if item.Kind == yaml.MappingNode && !hasEvent {
			item.fault("has no event; name the clients' event (or a pattern) that it passes on")
		}
		if item.Kind == yaml.MappingNode && !hasTo {
			item.fault("has no to; write one of %s", strings.Join(relayTargets, ", "))
		}
		rules = append(rules, relay)
	}
	return rules
}

// field is a label that a mapping may have.
type field struct {
	label string
	read  func(node)
}

// fields reads a mapping that has no other labels than the known ones.
func (n node) fields(known ...field) {
	for _, e := range n.entries("") {
		n.line = e.line
		i := slices.IndexFunc(known, func(f field) bool { return f.label == e.label })
		switch {
		case e.first > 0:
			n.fault("%s is given twice; remove one", quote(e.label))
		case i < 0:
			var labels []string
			for _, f := range known {
				labels = append(labels, f.label)
			}
			n.fault("unknown key %s%s", quote(e.label), didYouMean(e.label, labels))
		default:
			e.path += ": " + e.label
			known[i].read(e)
		}
	}
}

func readTexts(n node, parse func(string) (text, problem string)) []string {
	var texts []string
	for _, item := range n.items("such as [a, b]") {
		texts = append(texts, scalar(item, parse))
	}
	return texts
}

// readIssuerNames reads the names of issuers, and keeps their places until all issuers are known.
func readIssuerNames(n node) []string {
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.items("") {
			if item.Kind == yaml.ScalarNode {
				n.loader.issuers = append(n.loader.issuers, item)
			}
		}
	}
	return readTexts(n, anyText)
}

// checked parses a value and checks it.
func checked[T any](parse func(string) (T, string), f check) func(string) (value T, problem string) {
	return func(s string) (value T, problem string) {
		if value, problem = parse(s); problem == "" {
			f(value, func(bad string) { problem = bad })
		}
		return value, problem
	}
}

// relayEvent is the event of a relay rule.
func relayEvent(s string) (event, problem string) {
	switch {
	case s == "":
		problem = "is empty; name the clients' event (or a pattern) that the rule passes on"
	case msg.IsReserved(s):
		problem = quote(s) + " is a reserved name, which no client can emit; choose another"
	case slices.Contains(ownEvents, s):
		problem = quote(s) + " is answered by the edge itself (see rooms) and is never passed on; choose another"
	}
	return s, problem
}

func roomPattern(s string) (pattern, problem string) {
	if s == "" {
		problem = "is empty; write a room's name or a pattern, * for any room"
	}
	return s, problem
}

func roomName(s string) (room, problem string) {
	_, err := subjects.AppendRoom(nil, s)
	switch {
	case s == "":
		problem = "is empty; write a room's name"
	case strings.Contains(s, "*"):
		problem = quote(s) + " is a pattern; a socket enters rooms by their exact names"
	case subjects.IsSocketID(s):
		problem = quote(s) + " has the form of a socket id, which no room may have"
	case err != nil:
		problem = fmt.Sprintf("%s cannot be part of a NATS subject: %v", quote(s), err)
	}
	return s, problem
}
