package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"partyline/rule"
	"partyline/token"
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
	ActionCheck
)

// Loaded is what Load makes of its sources.
type Loaded struct {
	Config   Config
	Action   Action
	Warnings []string // for the log: what is odd but no fault

	given source // the values of all sources
}

// at is where the value of a key comes from, as an operator reads it.
func (l *Loaded) at(name string) string { return cmp.Or(l.given[name].where, name) }

// Load reads the configuration of a program from its arguments (without the program's name) and environment
// ("NAME=value"). A bad configuration gives Faults, all of them; Loaded.Action is set even then.
func Load(f Flavour, args, environ []string) (Loaded, error) {
	l := loader{flavour: f, keys: keysOf(f)}
	flags := l.readFlags(args)
	var loaded Loaded
	for _, a := range slices.Backward(actions) {
		if asked, _ := flags.GetBool(a.name); asked {
			loaded.Action = a.action
		}
	}
	if loaded.Action == ActionRun && flags.Changed(flagCheck) {
		loaded.Action = ActionCheck
	}
	if loaded.Action == ActionHelp || loaded.Action == ActionVersion {
		return loaded, nil
	}
	// The faults of the flags come first, though they are the strongest source.
	fromFlags := l.flagValues(flags)
	l.given = l.readFile(l.file(flags, environ))
	maps.Copy(l.given, l.readEnvironment(environ))
	maps.Copy(l.given, fromFlags)
	return l.finish(loaded)
}

// Parse reads a configuration from a text, which is YAML as in the file, and from an environment. In faults the text
// is called name.
func Parse(f Flavour, name, text string, environ []string) (Loaded, error) {
	l := loader{flavour: f, keys: keysOf(f)}
	l.given = l.readYAML(name, []byte(text))
	maps.Copy(l.given, l.readEnvironment(environ))
	return l.finish(Loaded{})
}

// finish merges what was given into loaded.
func (l *loader) finish(loaded Loaded) (_ Loaded, err error) {
	loaded.Config, err = l.merge()
	loaded.Warnings, loaded.given = l.warnings, l.given
	if err == nil && len(l.faults) > 0 {
		err = l.faults
	}
	return loaded, err
}

// sections lists the names of the sections that the program knows.
func (l *loader) sections() []string { return sectionsOf(l.flavour) }

// source has the good values of a source, by name of the key.
type source map[string]given

// given is a value of the key's type, and its place, as an operator reads it.
type given struct {
	where string
	value any
}

// loader collects what the sources say and what is wrong with it. It lives for one Load.
type loader struct {
	flavour    Flavour
	keys       []key                     // that the program knows
	given      source                    // the values of all sources
	namespaces map[string]rule.Namespace // of the environment, else of the file; nil if neither has any
	tokens     []token.Issuer            // the same
	hooks      []Hook                    // the same
	apiKeys    []APIKey                  // the same
	issuers    []node                    // where namespaces name issuers
	faults     Faults
	warnings   []string
}

// merge lays the sources over the defaults, and checks the result.
func (l *loader) merge() (Config, error) {
	defaults := Default(l.flavour)
	c := Config{Rules: defaults.Rules}
	if l.namespaces != nil {
		c.Namespaces, c.Open = l.namespaces, false
	}
	c.Tokens, c.Hooks, c.API.Keys = l.tokens, l.hooks, l.apiKeys
	values := defaults.values()
	for _, k := range l.keys {
		unset := values.Get(k.name)
		value := unset
		if g, isGiven := l.given[k.name]; isGiven {
			value = g.value
		}
		if k.check != nil {
			value = k.check(value, func(problem string) { l.fault(l.at(k.name), "%s", problem) })
		}
		if !reflect.DeepEqual(value, unset) { // each Set copies all values
			_ = values.Set(k.name, value) // fails for values that cannot be copied
		}
	}
	if err := values.Unmarshal("", &c); err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	l.validate(&c)
	return c, nil
}

// at is where the value of a key comes from, as an operator reads it.
func (l *loader) at(name string) string { return cmp.Or(l.given[name].where, name) }

// parse reads the text of a key, as a value of a source or a fault.
func (l *loader) parse(values source, k key, where, text string) {
	value, problem := k.parse(text)
	if problem != "" {
		l.fault(where, "%s", problem)
		return
	}
	values[k.name] = given{where, value}
}

// fault adds a fault at a place.
func (l *loader) fault(where, format string, args ...any) {
	l.faults = append(l.faults, Fault{Where: where, Problem: fmt.Sprintf(format, args...)})
}

// warn adds a line for the log.
func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}
