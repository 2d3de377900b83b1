package config

import (
	"encoding/json"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readEnvironment reads the variables that begin with PARTYLINE_. Unknown ones give one warning together: Kubernetes
// sets some for a service that is called partyline. Each name comes once: os.Environ has the first of two only.
func (l *loader) readEnvironment(environ []string) source {
	values := source{}
	var unknown []string
	for _, entry := range slices.Sorted(slices.Values(environ)) { // for faults in one order
		variable, text, _ := strings.Cut(entry, "=")
		i := slices.IndexFunc(l.keys, func(k key) bool { return k.env() == variable })
		switch {
		case !strings.HasPrefix(variable, envPrefix) || variable == variableFor:
		case i >= 0:
			l.parse(values, l.keys[i], variable, text)
		case slices.ContainsFunc(l.sections(), func(name string) bool { return Variable(name) == variable }):
			l.sectionFromJSON(variable, text)
		default:
			unknown = append(unknown, unquoted(variable)+l.aboutVariable(variable))
		}
	}
	if len(unknown) > 0 {
		l.warn("unknown environment variables are ignored: %s", strings.Join(unknown, ", "))
	}
	return values
}

// aboutVariable says in brackets what an unknown variable may have been meant to be. Candidates are compared without
// the prefix: with it, all are near one another.
func (l *loader) aboutVariable(variable string) string {
	for _, k := range allKeys {
		if k.env() == variable {
			return " (" + otherPrograms(l.flavour, k.name) + ")"
		}
	}
	for _, s := range sections {
		if Variable(s.name) == variable {
			return " (" + otherPrograms(l.flavour, s.name) + ")"
		}
	}
	var candidates []string
	for _, name := range l.sections() {
		candidates = append(candidates, strings.TrimPrefix(Variable(name), envPrefix))
	}
	for _, k := range l.keys {
		candidates = append(candidates, strings.TrimPrefix(k.env(), envPrefix))
	}
	if near := nearest(strings.TrimPrefix(variable, envPrefix), candidates); near != "" {
		return " (did you mean " + envPrefix + near + "?)"
	}
	return ""
}

// sectionFromJSON reads a variable such as PARTYLINE_NAMESPACES as if it were the section of the file.
func (l *loader) sectionFromJSON(variable, text string) {
	s := &sections[slices.IndexFunc(sections, func(s section) bool { return Variable(s.name) == variable })]
	var tree any
	var y yaml.Node
	err := json.Unmarshal([]byte(text), &tree)
	if err == nil {
		err = y.Encode(tree)
	}
	if err != nil {
		l.fault(variable, "is not JSON (%v); write %s, or unset it", err, s.example)
		return
	}
	s.read(l, node{Node: &y, loader: l, source: variable, path: s.name})
}
