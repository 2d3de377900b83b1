package config

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"partyline/rule"
)

// Recovery is the log of the namespaces with recovery or rewind: how JetStream keeps it.
type Recovery struct {
	Storage  string `koanf:"storage"`   // file or memory
	Replicas int    `koanf:"replicas"`  // NATS servers that keep a copy: 1, 3 or 5
	MaxBytes string `koanf:"max_bytes"` // as limits.memory, without shares; see Bytes
}

// Bytes returns MaxBytes as a number.
func (r Recovery) Bytes() int64 { return int64(MemoryOf(r.MaxBytes, 0)) }

// clocks is how much longer than a client may be away the log keeps events: the clocks of edges and NATS differ.
const clocks = 30 * time.Second

// LogAge returns how long events must be kept for all namespaces. It is 0 if no namespace is logged.
func (c Config) LogAge() (most time.Duration) {
	for _, ns := range c.Namespaces {
		if away := ns.Recovery.For; away > 0 {
			// The connection may have been dead for two heartbeats' time when the edge notices.
			most = max(most, away+c.Engine.PingInterval+c.Engine.PingTimeout+clocks)
		}
		for _, r := range ns.Rewind {
			most = max(most, r.Age)
		}
	}
	return most
}

// The bounds of recovery.max_bytes. The lower one is a few seconds of a busy room.
const (
	leastLog = 1 << 20
	mostLog  = 1 << 50
)

// logSize is the check of recovery.max_bytes.
func logSize(s string) (normal, problem string) {
	number, unit, ok := splitMemory(s)
	switch size := number * unit; {
	case !ok || unit == share:
		problem = quote(s) + " is not a number of bytes; write it such as 512MiB or 1GiB"
	case size < leastLog:
		problem = quote(s) + " is too small; write at least 1MiB"
	case size > mostLog:
		problem = quote(s) + " is too much; write at most 1024TiB"
	}
	return s, problem
}

// isReplicas is the check of recovery.replicas.
func isReplicas(value any, bad func(string)) any {
	if n := value.(int); n != 1 && n != 3 && n != 5 {
		bad(fmt.Sprintf("%d servers cannot keep a copy each; write 1, 3 or 5", n))
	}
	return value
}

// readRecovery reads what a namespace keeps for clients that come back.
func readRecovery(n node) (r rule.Recovery) {
	hasFor := false
	if n.Kind != yaml.MappingNode {
		n.fault("must hold keys such as {for: 2m}, not %s", n.describe())
		return r
	}
	n.fields(
		field{"for", func(n node) { r.For, hasFor = scalar(n, checked(parseDuration, absence)), true }},
		field{"skip_admission", func(n node) { r.AskAgain = !scalar(n, parseBool) }},
	)
	if !hasFor {
		n.fault("has no for; write how long a client may be away, such as for: 2m")
	}
	return r
}

// readRewind reads a list of rules, or the one rule for all rooms.
func readRewind(n node) (rules []rule.Rewind) {
	if n.Kind == yaml.MappingNode {
		return []rule.Rewind{readRewindRule(n)}
	}
	for _, item := range n.items("of rules such as [{room: \"news-*\", messages: 50, age: 1h}]") {
		rules = append(rules, readRewindRule(item))
	}
	return rules
}

func readRewindRule(n node) rule.Rewind {
	r := rule.Rewind{Room: "*", Messages: 50, Age: time.Hour}
	n.fields(
		field{"room", func(n node) { r.Room = scalar(n, roomPattern) }},
		field{"messages", func(n node) { r.Messages = scalar(n, checked(parseNumber, rewound)) }},
		field{"age", func(n node) { r.Age = scalar(n, checked(parseDuration, absence)) }},
	)
	return r
}

// The checks of recovery and rewind in a namespace.
var (
	absence = between(time.Second, 24*time.Hour, "too short; write at least 1s")
	rewound = between(1, 1000, "too few; write at least 1, or remove the rule")
)

// validateRecovery checks recovery against the namespaces and the program.
func (l *loader) validateRecovery(c *Config) {
	if l.flavour == FlavourEmbedded && c.Embedded.ServerConfig == "" && c.Recovery.Replicas > 1 {
		l.fault(l.at("recovery.replicas"), "%d is more than there are servers: the NATS inside is one; write 1", c.Recovery.Replicas)
	}
	for _, k := range l.keys {
		if c.LogAge() == 0 && strings.HasPrefix(k.name, "recovery.") && l.at(k.name) != k.name {
			l.warn("%s: does nothing: no namespace has recovery or rewind", k.name)
		}
	}
}
