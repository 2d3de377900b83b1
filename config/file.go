package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/file"
	"go.yaml.in/yaml/v3"
)

// readFile reads the YAML file, or nothing if path is "".
func (l *loader) readFile(path string) error {
	if path == "" {
		return nil
	}
	err := l.file.Load(file.Provider(path), yamlFile{l, path})
	var unreadable *fs.PathError
	if errors.As(err, &unreadable) {
		l.fault("--config", "%s %s: %v", unreadable.Op, shownPath(path), unreadable.Err)
		return nil
	}
	return err
}

// shownPath returns a path for people. One that does not begin at the root may be nats.url by mistake.
func shownPath(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return unquoted(path)
}

// yamlFile is koanf's parser for the file. It walks the nodes itself because they know their lines, repeated keys, and
// the texts of scalars: 007 is a good token.
type yamlFile struct {
	*loader
	path string
}

// Unmarshal returns the values of all good keys. The others become faults.
func (y yamlFile) Unmarshal(data []byte) (map[string]any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file sets nothing
			y.fault(y.path, "is not YAML: %s", yamlProblem(err))
		}
		return nil, nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		y.fault(y.path, "holds more than one YAML document (---); put everything into one")
	}
	values := map[string]any{}
	root := node{loader: y.loader, source: y.path}
	y.section(values, root.below(document.Content[0], document.Content[0].Line), "the file ")
	return maps.Unflatten(values, "."), nil
}

// Marshal writes values as --print-config does.
func (yamlFile) Marshal(values map[string]any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := e.Encode(values)
	return out.Bytes(), err
}

// yamlProblem returns the text of an error of the parser, without the name of an unknown anchor: a secret that begins
// with * and has no quotes.
func yamlProblem(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "unknown anchor") {
		return "a value that begins with * must stand in quotes"
	}
	return text
}

// section reads a mapping whose labels continue the name of n.
func (y yamlFile) section(values map[string]any, n node, subject string) {
	if n.isNull() {
		return // a section whose keys are all commented out
	}
	for _, e := range n.entries(subject) {
		name := strings.TrimPrefix(n.path+"."+e.label, ".")
		e.path = name
		if !has(allKeys, name) && name != namespacesKey {
			e.path = unquoted(name) // it may be a value in the wrong place
		}
		i := slices.IndexFunc(y.keys, func(k key) bool { return k.name == name })
		switch {
		case e.first > 0:
			e.fault("is given twice, first in line %d; remove one", e.first)
		case y.places[name] != "": // once nested and once with dots
			e.fault("is given twice; remove one")
		case i >= 0:
			if value := y.value(y.keys[i], e); value != nil {
				values[name], y.places[name] = value, e.where()
			}
		case name == namespacesKey:
			y.namespaces = readNamespaces(e)
		case has(y.keys, name):
			y.section(values, e, "it ")
		case has(allKeys, name):
			e.fault("unknown key: %s", otherProgram[y.flavour])
		case name == "recovery.for" || name == "recovery.skip_admission" || name == "rewind":
			e.fault("belongs to a namespace, such as namespaces: {\"/chat\": {recovery: {for: 2m}}}")
		default:
			e.fault("unknown key%s", didYouMean(name, namesInFile(y.keys)))
		}
	}
}

// namesInFile lists the names of sections and keys.
func namesInFile(keys []key) []string {
	names := []string{namespacesKey}
	for _, k := range keys {
		if dot := strings.LastIndexByte(k.name, '.'); dot > 0 {
			names = append(names, k.name[:dot])
		}
		names = append(names, k.name)
	}
	return names
}

// value reads a known key. It returns nil, after a fault, if the value is bad.
func (y yamlFile) value(k key, n node) any {
	switch {
	case n.isNull() && k.kind != text && k.kind != list:
		n.fault("has no value; give one, or remove the key for the default")
	case n.isNull():
		_, value := y.parse(k, n.where(), "")
		return value
	case n.Kind == yaml.ScalarNode:
		_, value := y.parse(k, n.where(), n.Value)
		return value
	case k.kind != list:
		n.fault("must be a single value, not %s", n.describe())
	default:
		list := n.items("such as [a, b]")
		if list == nil {
			return nil
		}
		items := []string{}
		for _, item := range list {
			if item.Kind != yaml.ScalarNode || item.isNull() {
				n.fault("must be a list of texts, and holds %s", item.describe())
				return nil
			}
			items = append(items, item.Value)
		}
		return items
	}
	return nil
}
