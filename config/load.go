package config

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"partyline/edge"
)

// Action is what the command line asks for.
type Action uint8

// The actions. ActionHelp and ActionVersion need no configuration: Load reads none for them.
const (
	ActionRun Action = iota
	ActionHelp
	ActionVersion
	ActionPrintConfig
	ActionHealth
)

// Loaded is what Load makes of its sources.
type Loaded struct {
	Config   Config
	Action   Action
	Warnings []string // for the log: what is odd but no fault
}

// Load reads the configuration of a program from its arguments (without the program's name) and environment
// ("NAME=value"). A bad configuration gives Faults, all of them; Loaded.Action is set even then.
func Load(f Flavour, args, environ []string) (Loaded, error) {
	l := loader{flavour: f, keys: keysOf(f), where: map[string]string{}}
	line := l.readFlags(args)
	loaded := Loaded{Action: line.action}
	if line.action == ActionHelp || line.action == ActionVersion {
		return loaded, nil
	}
	file := l.readFile(line.file)
	env := l.readEnvironment(environ)

	k := koanf.NewWithConf(koanf.Conf{Delim: "."})
	defaults := Default(f)
	c := Config{Namespaces: defaults.Namespaces, Open: defaults.Open}
	if err := k.Load(structs.Provider(defaults, "koanf"), nil); err != nil {
		return loaded, fmt.Errorf("config: defaults: %w", err)
	}
	for _, source := range []source{file, env, line.source} {
		if err := k.Load(confmap.Provider(source.values, "."), nil); err != nil {
			return loaded, fmt.Errorf("config: %w", err)
		}
		for name, where := range source.where {
			l.where[name] = where
		}
		if source.namespaces != nil {
			c.Namespaces, c.Open = source.namespaces, false
		}
	}
	if err := k.Unmarshal("", &c); err != nil {
		return loaded, fmt.Errorf("config: %w", err)
	}

	l.validate(&c)
	loaded.Config, loaded.Warnings = c, l.warnings
	if len(l.faults) > 0 {
		return loaded, l.faults
	}
	return loaded, nil
}

// loader collects what the sources say and what is wrong with it. It lives for one Load.
type loader struct {
	flavour  Flavour
	keys     []key             // that the program knows
	where    map[string]string // a key's strongest source, as an operator reads it; no entry for a default
	faults   Faults
	warnings []string
}

// source is one layer of the configuration.
type source struct {
	values     map[string]any            // by key, of the key's type; only good values
	where      map[string]string         // by key
	namespaces map[string]edge.Namespace // nil if the source has none
}

func newSource() source {
	return source{values: map[string]any{}, where: map[string]string{}}
}

// fault notes a fault at a place.
func (l *loader) fault(where, format string, args ...any) {
	l.faults = append(l.faults, Fault{Where: where, Problem: fmt.Sprintf(format, args...)})
}

// take reads a key's text into a source, or notes what is wrong with it.
func (l *loader) take(s source, k key, where, value string) {
	parsed, problem := k.parse(value)
	if problem != "" {
		l.fault(where, "%s", problem)
		return
	}
	s.values[k.name], s.where[k.name] = parsed, where
}

// known returns the key of that name if the program knows it.
func (l *loader) known(name string) (key, bool) {
	k, found := find(name)
	return k, found && (k.only == "" || k.only == l.flavour)
}

// names lists the known keys, and in the file also their sections.
func (l *loader) names(sections bool) []string {
	var names []string
	for _, k := range l.keys {
		if sections {
			for i, c := range k.name {
				if c == '.' {
					names = append(names, k.name[:i])
				}
			}
		}
		names = append(names, k.name)
	}
	return names
}

// isSection reports whether known keys stand below name.
func (l *loader) isSection(name string) bool {
	for _, k := range l.keys {
		if strings.HasPrefix(k.name, name+".") {
			return true
		}
	}
	return false
}
