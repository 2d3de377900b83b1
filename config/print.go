package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"

	"partyline/edge"
	"partyline/internal/redact"
)

// hidden stands where a secret was.
const hidden = "hidden"

// YAML writes the configuration as a file that the same program can load again, apart from secrets: in their place
// stands "hidden".
func (c Config) YAML(f Flavour) ([]byte, error) {
	values, err := c.values()
	if err != nil {
		return nil, err
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keysOf(f) {
		section := root
		names := strings.Split(k.name, ".")
		for _, name := range names[:len(names)-1] {
			section = subsection(section, name)
		}
		put(section, names[len(names)-1], valueNode(withoutSecret(k.name, values.Get(k.name))))
	}
	namespaces := namespacesNode(c.Namespaces)
	if !c.Open {
		put(root, namespacesKey, namespaces)
		return encode(root)
	}

	// As a section they would end open mode, and with it the rule about loopback.
	out, err := encode(root)
	if err != nil {
		return nil, err
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	put(section, namespacesKey, namespaces)
	shown, err := encode(section)
	if err != nil {
		return nil, err
	}
	out = append(out, "# No namespaces section: open mode, on loopback only, as if this stood here:\n"...)
	for line := range strings.Lines(string(shown)) {
		out = append(out, "# "+line...)
	}
	return out, nil
}

// values makes the keys of a configuration readable by name.
func (c Config) values() (*koanf.Koanf, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(c, "koanf"), nil); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return k, nil
}

func withoutSecret(name string, value any) any {
	text, _ := value.(string)
	switch {
	case (name == "nats.token" || name == "edges.secret") && text != "":
		return hidden
	case name == "nats.url":
		return redact.URLs(text)
	}
	return value
}

func encode(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return out.Bytes(), nil
}

func put(mapping *yaml.Node, name string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, valueNode(name), value)
}

// subsection returns the mapping of that name, which it adds if it is not the last entry.
func subsection(mapping *yaml.Node, name string) *yaml.Node {
	if n := len(mapping.Content); n > 0 && mapping.Content[n-2].Value == name {
		return mapping.Content[n-1]
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	put(mapping, name, section)
	return section
}

func valueNode(value any) *yaml.Node {
	if d, ok := value.(time.Duration); ok {
		value = d.String()
	}
	n := &yaml.Node{}
	if err := n.Encode(value); err != nil {
		panic(err) // texts, numbers, booleans and lists of texts always encode
	}
	if n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	return n
}

func namespacesNode(namespaces map[string]edge.Namespace) *yaml.Node {
	all := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range slices.Sorted(maps.Keys(namespaces)) {
		ns := namespaces[name]
		n := &yaml.Node{Kind: yaml.MappingNode}
		put(n, "connect", valueNode(ns.Connect))
		if ns.ConnectTimeout != 0 {
			put(n, "connect_timeout", valueNode(ns.ConnectTimeout))
		}
		if len(ns.Rooms) > 0 {
			put(n, "rooms", valueNode(ns.Rooms))
		}
		if len(ns.AutoJoin) > 0 {
			put(n, "auto_join", valueNode(ns.AutoJoin))
		}
		if len(ns.Relay) > 0 {
			rules := &yaml.Node{Kind: yaml.SequenceNode}
			for _, rule := range ns.Relay {
				r := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
				put(r, "event", valueNode(rule.Event))
				put(r, "to", valueNode(rule.To))
				put(r, "self", valueNode(rule.Self))
				rules.Content = append(rules.Content, r)
			}
			put(n, "relay", rules)
		}
		put(all, name, n)
	}
	return all
}
