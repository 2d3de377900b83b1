package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"partyline/rule"
	"partyline/wire/msg"
)

// readPresence reads which rooms of a namespace show who is in them: true for all, patterns, or a mapping.
func readPresence(n node) rule.Presence {
	p := rule.DefaultPresence("*")
	switch n.Kind {
	case yaml.SequenceNode:
		p.Rooms = readTexts(n, roomPattern)
	case yaml.MappingNode:
		n.fields(
			field{"rooms", func(n node) { p.Rooms = readTexts(n, roomPattern) }},
			field{"by", func(n node) { p.By = scalar(n, oneOf(rule.BySocket, rule.ByUser)) }},
			field{"event", func(n node) { p.Event = scalar(n, presenceEvent) }},
			field{"max", func(n node) { p.Max = scalar(n, checked(parseNumber, listed)) }},
			field{"data", func(n node) { p.Data = scalar(n, parseBool) }},
		)
	default:
		if !scalar(n, parseBool) {
			return rule.Presence{}
		}
	}
	if !p.IsOn() {
		n.fault("names no room; write true for all rooms, or patterns such as [\"lobby-*\"]")
	}
	return p
}

// listed is the check of max. Longer lists would fill the queue of a client.
var listed = between(1, 10_000, "too few; write at least 1")

// presenceEvent is the check of event.
func presenceEvent(s string) (event, problem string) {
	switch {
	case s == "":
		problem = "is empty; name the event by which clients get who is in a room, such as partyline:presence"
	case msg.IsReserved(s) || slices.Contains(ownEvents, s):
		problem = quote(s) + " has another meaning already; choose another name"
	}
	return s, problem
}
