package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/maps"
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
	out, err := values.Marshal(yamlFile{loader: &loader{keys: keysOf(f)}})
	if err != nil {
		return nil, err
	}
	section, err := encode(map[string]map[string]edge.Namespace{namespacesKey: c.Namespaces})
	if err != nil {
		return nil, err
	}
	if !c.Open {
		return append(out, section...), nil
	}
	// As a section they would end open mode, and with it the rule about loopback.
	out = append(out, "# No namespaces section: open mode, on loopback only, as if this stood here:\n"...)
	for line := range strings.Lines(string(section)) {
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

// Marshal writes values in the order of the keys, without secrets.
func (y yamlFile) Marshal(values map[string]any) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range y.keys {
		names := strings.Split(k.name, ".")
		section, last := root, len(names)-1
		for _, name := range names[:last] {
			section = subsection(section, name)
		}
		put(section, names[last], valueNode(withoutSecret(k.name, maps.Search(values, names))))
	}
	return encode(root)
}

func withoutSecret(name string, value any) any {
	text, _ := value.(string)
	switch {
	case slices.Contains(secretKeys, name) && text != "":
		return hidden
	case name == "nats.url":
		return redact.URLs(text)
	}
	return value
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return out.Bytes(), nil
}

func put(mapping *yaml.Node, name string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, value)
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
	n := &yaml.Node{Style: yaml.FlowStyle}
	if err := n.Encode(value); err != nil {
		panic(err) // texts, numbers, booleans and lists of texts always encode
	}
	if n.Kind == yaml.SequenceNode {
		n.Style = yaml.FlowStyle
	}
	return n
}
