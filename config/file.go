package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"partyline/internal/redact"
)

// readFile reads the YAML file, or nothing if path is "". It walks the nodes itself, rather than taking koanf's map,
// because the nodes know their lines and repeated keys.
func (l *loader) readFile(path string) source {
	s := newSource()
	if path == "" {
		return s
	}
	data, err := os.ReadFile(path)
	if err != nil {
		problem := err.Error()
		if strings.Contains(path, ":") { // not a path: nats.url by mistake
			problem = redact.Text(problem, path)
		}
		l.fault("--config", "%s", problem)
		return s
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file sets nothing
			l.fault(path, "is not YAML: %s", yamlProblem(err))
		}
		return s
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		l.fault(path, "holds more than one YAML document (---); put everything into one")
	}
	w := fileWalker{loader: l, path: path, source: &s}
	w.section(document.Content[0], "")
	return s
}

// yamlProblem returns the text of an error of the parser, without the name of an unknown anchor: a secret that begins with
// * and has no quotes.
func yamlProblem(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "unknown anchor") {
		return "a value that begins with * must stand in quotes"
	}
	return text
}

// fileWalker reads one file into a source.
type fileWalker struct {
	*loader
	path   string
	source *source
}

// at is a node's place, as editors understand it.
func (w *fileWalker) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", w.path, n.Line) }

// section reads a mapping whose keys continue the name.
func (w *fileWalker) section(n *yaml.Node, name string) {
	n = resolved(n)
	if isNull(n) {
		return // a section whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		where, what := w.at(n), "the file"
		if name != "" {
			where, what = where+": "+name, "it"
		}
		w.fault(where, "%s must hold keys (key: value), not %s", what, describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		label, value := n.Content[i], resolved(n.Content[i+1])
		full := label.Value
		if name != "" {
			full = name + "." + full
		}
		if line, twice := seen[full]; twice {
			w.fault(w.at(label)+": "+full, "is given twice, first in line %d; remove one", line)
			continue
		}
		seen[full] = label.Line
		w.entry(label, value, full)
	}
}

// entry reads the value of one name.
func (w *fileWalker) entry(label, value *yaml.Node, full string) {
	where := w.at(label) + ": " + full
	k, known := w.known(full)
	switch {
	case known:
		w.value(k, value, where)
	case full == namespacesKey:
		d := namespaceDecoder{loader: w.loader, place: w.at}
		w.source.namespaces = d.namespaces(value)
	case w.isSection(full):
		w.section(value, full)
	default:
		if why := elsewhere(w.flavour, full); why != "" {
			w.fault(where, "unknown key: %s", why)
			return
		}
		candidates := append(w.names(true), namespacesKey)
		w.fault(where, "unknown key%s", didYouMean(full, candidates))
	}
}

// value reads a known key.
func (w *fileWalker) value(k key, n *yaml.Node, where string) {
	if _, twice := w.source.where[k.name]; twice { // once nested and once with dots
		w.fault(where, "is given twice; remove one")
		return
	}
	switch {
	case k.kind == list && n.Kind == yaml.SequenceNode:
		items := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			if item = resolved(item); item.Kind != yaml.ScalarNode || isNull(item) {
				w.fault(where, "must be a list of texts, and holds %s", describe(item))
				return
			}
			items = append(items, item.Value)
		}
		w.source.values[k.name], w.source.where[k.name] = items, where
	case isNull(n) && (k.kind == text || k.kind == list):
		w.take(*w.source, k, where, "")
	case isNull(n):
		w.fault(where, "has no value; give one, or remove the key for the default")
	case n.Kind == yaml.ScalarNode:
		w.take(*w.source, k, where, n.Value)
	case k.kind == list:
		w.fault(where, "must be a list such as [a, b], not %s", describe(n))
	default:
		w.fault(where, "must be a single value, not %s", describe(n))
	}
}

// resolved follows an alias to what it stands for.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what stands at a node without its contents, which may be secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	}
	if isNull(n) {
		return "nothing"
	}
	return "a single value"
}
