package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readFile reads the YAML file that where names, or nothing if path is "".
func (l *loader) readFile(where, path string) source {
	if path == "" {
		return source{}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		l.fault(where, "%s", unreadable(path, err))
		return source{}
	}
	return l.readYAML(path, data)
}

// readYAML reads the contents of the file.
func (l *loader) readYAML(path string, data []byte) source {
	values := source{}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file sets nothing
			l.fault(path, "is not YAML: %s", yamlProblem(err))
		}
		return values
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		l.fault(path, "holds more than one YAML document (---); put everything into one")
	}
	// The nodes are walked because they know their lines, repeated keys, and the texts of scalars: 007 is a good
	// token.
	root := node{loader: l, source: path}
	l.section(values, root.below(document.Content[0], document.Content[0].Line), "the file ")
	return values
}

// unreadable returns why a file cannot be read, an error of os.ReadFile.
func unreadable(path string, err error) string {
	var at *fs.PathError
	if !errors.As(err, &at) {
		return "the file cannot be read"
	}
	return fmt.Sprintf("%s %s: %v", at.Op, shownPath(path), at.Err)
}

// shownPath returns a path for people. One that does not begin at the root may be nats.url by mistake.
func shownPath(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return unquoted(path)
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
func (l *loader) section(values source, n node, subject string) {
	if n.isNull() {
		return // a section whose keys are all commented out
	}
	for _, e := range n.entries(subject) {
		name := strings.TrimPrefix(n.path+"."+e.label, ".")
		e.path = name
		if !isKnown(name) {
			e.path = unquoted(name) // it may be a value in the wrong place
		}
		i := slices.IndexFunc(l.keys, func(k key) bool { return k.name == name })
		switch {
		case e.first > 0:
			e.fault("is given twice, first in line %d; remove one", e.first)
		case values[name].where != "": // once nested and once with dots
			e.fault("is given twice; remove one")
		case i >= 0:
			l.value(values, l.keys[i], e)
		case slices.Contains(l.sections(), name):
			sectionOf(name).read(l, e)
		case has(l.keys, name):
			l.section(values, e, "it ")
		case isKnown(name):
			e.fault("unknown key: %s", otherPrograms(l.flavour, name))
		case name == "recovery.for" || name == "recovery.skip_admission" || name == "rewind":
			e.fault("belongs to a namespace, such as namespaces: {\"/chat\": {recovery: {for: 2m}}}")
		default:
			e.fault("unknown key%s", didYouMean(name, l.namesInFile()))
		}
	}
}

// namesInFile lists the names of sections and keys.
func (l *loader) namesInFile() []string {
	names := l.sections()
	for _, k := range l.keys {
		if dot := strings.LastIndexByte(k.name, '.'); dot > 0 {
			names = append(names, k.name[:dot])
		}
		names = append(names, k.name)
	}
	return names
}

// value reads a known key.
func (l *loader) value(values source, k key, n node) {
	switch {
	case n.isNull() && k.kind != text && k.kind != list:
		n.fault("has no value; give one, or remove the key for the default")
	case n.isNull():
		l.parse(values, k, n.where(), "")
	case n.Kind == yaml.ScalarNode:
		l.parse(values, k, n.where(), n.Value)
	case k.kind != list:
		n.fault("must be a single value, not %s", n.describe())
	default:
		list := n.items("such as [a, b]")
		items := []string{}
		for _, item := range list {
			if item.Kind != yaml.ScalarNode || item.isNull() {
				n.fault("must be a list of texts, and holds %s", item.describe())
				return
			}
			items = append(items, item.Value)
		}
		if list != nil {
			values[k.name] = given{n.where(), items}
		}
	}
}
