package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/knadh/koanf/providers/posflag"
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
	l := loader{
		flavour: f, keys: keysOf(f), places: map[string]string{},
		file: koanf.New("."), env: koanf.New("."), flags: koanf.New("."),
	}
	flags := l.readFlags(args)
	var loaded Loaded
	for _, a := range slices.Backward(actions) {
		if asked, _ := flags.GetBool(a.name); asked {
			loaded.Action = a.action
		}
	}
	if loaded.Action == ActionHelp || loaded.Action == ActionVersion {
		return loaded, nil
	}
	// The faults of the flags come first, though they are the strongest source.
	err := errors.Join(
		l.flags.Load(posflag.ProviderWithFlag(flags, ".", nil, l.flagValue), nil),
		l.readFile(flags.Lookup(flagConfig).Value.String()),
		l.readEnvironment(environ),
	)
	if err != nil {
		return loaded, fmt.Errorf("config: %w", err)
	}
	loaded.Config, err = l.merge()
	loaded.Warnings = l.warnings
	if err == nil && len(l.faults) > 0 {
		err = l.faults
	}
	return loaded, err
}

// loader collects what the sources say and what is wrong with it. It lives for one Load.
type loader struct {
	flavour          Flavour
	keys             []key                     // that the program knows
	file, env, flags *koanf.Koanf              // the good values of each source, of the keys' types
	places           map[string]string         // lines of keys in the file, as editors understand them
	namespaces       map[string]edge.Namespace // of the environment, else of the file; nil if neither has any
	faults           Faults
	warnings         []string
}

// merge lays the sources over the defaults, and checks the result.
func (l *loader) merge() (Config, error) {
	defaults := Default(l.flavour)
	c := Config{Rules: defaults.Rules}
	if l.namespaces != nil {
		c.Namespaces, c.Open = l.namespaces, false
	}
	merged, err := defaults.values()
	if err != nil {
		return c, err
	}
	err = errors.Join(merged.Merge(l.file), merged.Merge(l.env), merged.Merge(l.flags), l.check(merged), merged.Unmarshal("", &c))
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	l.validate(&c)
	return c, nil
}

// check brings each value into its normal form, and adds a fault for each bad one.
func (l *loader) check(merged *koanf.Koanf) error {
	for _, k := range l.keys {
		if k.check == nil {
			continue
		}
		value := k.check(merged.Get(k.name), func(problem string) { l.fault(l.at(k.name), "%s", problem) })
		if err := merged.Set(k.name, value); err != nil {
			return err
		}
	}
	return nil
}

// at is where the value of a key comes from, as an operator reads it.
func (l *loader) at(name string) string {
	switch {
	case l.flags.Exists(name):
		return "--" + name
	case l.env.Exists(name):
		return Variable(name)
	case l.file.Exists(name):
		return l.places[name]
	}
	return name
}

// parse reads the text of a key. name is "", which koanf's providers leave out, if the text is bad.
func (l *loader) parse(k key, where, text string) (name string, value any) {
	value, problem := k.parse(text)
	if problem != "" {
		l.fault(where, "%s", problem)
		return "", nil
	}
	return k.name, value
}

// fault adds a fault at a place.
func (l *loader) fault(where, format string, args ...any) {
	l.faults = append(l.faults, Fault{Where: where, Problem: fmt.Sprintf(format, args...)})
}

// warn adds a line for the log.
func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}
