package config

import (
	"encoding/json"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readEnvironment reads the variables that begin with PARTYLINE_. Unknown ones give one warning together: Kubernetes
// sets some for a service that is called partyline.
func (l *loader) readEnvironment(environ []string) source {
	s := newSource()
	byName := map[string]key{}
	candidates := []string{namespacesEnv}
	for _, k := range l.keys {
		byName[k.env()] = k
		candidates = append(candidates, k.env())
	}
	seen := map[string]bool{} // the first of two counts, as for os.Getenv
	var unknown []string
	for _, variable := range sorted(environ) {
		name, value, ok := strings.Cut(variable, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || seen[name] {
			continue
		}
		seen[name] = true
		k, known := byName[name]
		switch {
		case known:
			l.take(s, k, name, value)
		case name == namespacesEnv:
			l.namespacesFromJSON(&s, value)
		default:
			unknown = append(unknown, name+l.aboutVariable(name, candidates))
		}
	}
	if len(unknown) > 0 {
		l.warnings = append(l.warnings, "unknown environment variables are ignored: "+strings.Join(unknown, ", "))
	}
	return s
}

// sorted orders variables by name and keeps the order of those with the same name, so that faults come in one order.
func sorted(environ []string) []string {
	out := append([]string(nil), environ...)
	name := func(i int) string { before, _, _ := strings.Cut(out[i], "="); return before }
	sort.SliceStable(out, func(i, j int) bool { return name(i) < name(j) })
	return out
}

// aboutVariable says in brackets what an unknown variable may have been meant to be.
func (l *loader) aboutVariable(name string, candidates []string) string {
	for _, k := range allKeys {
		if k.env() == name {
			return " (" + elsewhere(l.flavour, k.name) + ")"
		}
	}
	if near := nearest(strings.TrimPrefix(name, envPrefix), withoutPrefix(candidates)); near != "" {
		return " (did you mean " + envPrefix + near + "?)"
	}
	return ""
}

// withoutPrefix leaves the part in which names differ: with the long common prefix all are near one another.
func withoutPrefix(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strings.TrimPrefix(name, envPrefix)
	}
	return out
}

// namespacesFromJSON reads PARTYLINE_NAMESPACES through the same decoder as the file's section.
func (l *loader) namespacesFromJSON(s *source, value string) {
	var tree any
	if err := json.Unmarshal([]byte(value), &tree); err != nil {
		l.fault(namespacesEnv, "is not JSON (%v); write an object such as {\"/\":{\"connect\":\"service\"}}, or unset it", err)
		return
	}
	var node yaml.Node
	if err := node.Encode(tree); err != nil {
		l.fault(namespacesEnv, "cannot be read: %v", err)
		return
	}
	d := namespaceDecoder{loader: l, place: func(*yaml.Node) string { return namespacesEnv }}
	s.namespaces = d.namespaces(&node)
}
