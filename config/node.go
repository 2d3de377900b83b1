package config

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// node is a value in the YAML file, or in the JSON of a variable, with its place for faults.
type node struct {
	*yaml.Node // what an alias stands for
	loader     *loader
	source     string // path of the file, or name of the variable
	line       int    // of its label if it has one; 0 in a variable
	path       string // such as engine.ping_interval, or `namespaces: "/chat": relay[0]`; "" is the whole document
	label      string // in a mapping
	first      int    // line of an earlier entry of the mapping with the same label, or 0
}

// where is the node's place, in files as editors understand it.
func (n node) where() string {
	where := n.source
	if n.line > 0 {
		where += ":" + strconv.Itoa(n.line)
	}
	if n.path != "" {
		where += ": " + n.path
	}
	return where
}

func (n node) fault(format string, args ...any) { n.loader.fault(n.where(), format, args...) }

// below is a node inside n, which still has the path of n.
func (n node) below(y *yaml.Node, line int) node {
	for y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	n.Node, n.line = y, line
	return n
}

// entries lists the values of a mapping, or adds a fault that begins with subject if n is none.
func (n node) entries(subject string) []node {
	if n.Kind != yaml.MappingNode {
		n.fault(subject+"must hold keys (key: value), not %s", n.describe())
		return nil
	}
	var all []node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		label := n.Content[i]
		value := n.below(n.Content[i+1], label.Line)
		value.label, value.first = label.Value, lines[label.Value]
		all = append(all, value)
		if value.first == 0 {
			lines[label.Value] = label.Line
		}
	}
	return all
}

// items lists the items of a list, or adds a fault if n is none.
func (n node) items(example string) []node {
	if n.Kind != yaml.SequenceNode {
		n.fault("must be a list %s, not %s", example, n.describe())
		return nil
	}
	items := make([]node, len(n.Content))
	for i, y := range n.Content {
		items[i] = n.below(y, y.Line)
		items[i].path = fmt.Sprintf("%s[%d]", n.path, i)
	}
	return items
}

// scalar reads a single value. What parse says is wrong with it becomes a fault.
func scalar[T any](n node, parse func(string) (value T, problem string)) (value T) {
	if n.Kind != yaml.ScalarNode || n.isNull() {
		n.fault("must be a single value, not %s", n.describe())
		return value
	}
	value, problem := parse(n.Value)
	if problem != "" {
		n.fault("%s", problem)
	}
	return value
}

func (n node) isNull() bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what stands at a node without its contents, which may be secret.
func (n node) describe() string {
	if n.isNull() {
		return "nothing"
	}
	return map[yaml.Kind]string{yaml.MappingNode: "keys", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}[n.Kind]
}
