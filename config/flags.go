package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// The flags that name the file, and the variable that does so if neither is given: the health check of a container gets
// no flags, and must read the same file.
const (
	flagConfig  = "config"
	flagCheck   = "check-config"
	variableFor = envPrefix + "CONFIG"
)

// actions are the flags that ask for something else than to run, in the order of --help. The first that is given
// counts.
var actions = []struct {
	name   string
	letter string
	action Action
	help   string
}{
	{"help", "h", ActionHelp, "Show this text."},
	{"version", "", ActionVersion, "Show the version."},
	{"print-config", "", ActionPrintConfig, "Show the configuration as it would be used, secrets hidden, and exit."},
	{"health", "", ActionHealth, "Ask the running program's health page and exit with status 0 or 1."},
}

// readFlags reads the arguments. What it returns has the texts of settings as they were given, good or bad.
func (l *loader) readFlags(args []string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(string(l.flavour), pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {} // pflag shows it for -h and -health
	flags.String(flagConfig, "", "")
	flags.String(flagCheck, "", "")
	for _, a := range actions {
		flags.Bool(a.name, false, a.help)
	}
	for _, k := range l.keys {
		flags.StringArray(k.name, nil, k.help)
		if k.kind == boolean {
			flags.Lookup(k.name).NoOptDefVal = "true"
		}
	}
	for _, argument := range l.parseFlags(flags, args) {
		// A blank in a secret that is not quoted makes an argument of its rest.
		if slices.ContainsFunc(secretKeys, flags.Changed) || flags.Changed("nats.url") || isSecretItself(argument) {
			l.fault("command line", "unexpected argument, not shown because it may be part of a secret; put values with blanks in quotes")
			continue
		}
		l.fault("command line", "unexpected argument %s; every setting is a flag, see --help", quote(argument))
	}
	return flags
}

// file returns the path of the YAML file, "" if there is none, and what names it.
func (l *loader) file(flags *pflag.FlagSet, environ []string) (where, path string) {
	for _, name := range []string{flagCheck, flagConfig} {
		if !flags.Changed(name) {
			continue
		}
		if where != "" {
			l.fault("--"+name, "is given together with %s; name the file once", where)
			continue
		}
		if where, path = "--"+name, flags.Lookup(name).Value.String(); path == "" {
			l.fault(where, "needs the path of a YAML file")
		}
	}
	if where != "" {
		return where, path
	}
	for _, entry := range environ {
		if text, isIt := strings.CutPrefix(entry, variableFor+"="); isIt {
			return variableFor, text
		}
	}
	return "", ""
}

// parseFlags parses the arguments one by one, because pflag stops at the first fault. It returns those that are no
// flags.
func (l *loader) parseFlags(flags *pflag.FlagSet, args []string) (strays []string) {
	for len(args) > 0 {
		if args[0] == "--" {
			return append(strays, args[1:]...)
		}
		arg, taken := args[0], 1
		if arg == "-h" { // the only letter: for pflag it would also begin -health
			arg = "--help"
		}
		err := flags.Parse([]string{arg})
		var noValue *pflag.ValueRequiredError
		var badValue *pflag.InvalidValueError
		if errors.As(err, &noValue) && len(args) > 1 {
			taken, err = 2, flags.Parse(args[:2])
		}
		switch {
		case err == nil:
			strays = append(strays, flags.Args()...)
		case errors.As(err, &noValue):
			l.fault(arg, "needs a value")
		case errors.As(err, &badValue): // of an action
			_, problem := parseBool(badValue.GetValue())
			l.fault("--"+badValue.GetFlag().Name, "%s", problem)
		default:
			l.unknownFlag(flags, arg)
			if !strings.Contains(arg, "=") && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
				taken = 2 // its value
			}
		}
		args = args[taken:]
	}
	return strays
}

// flagValues reads the flags of settings. Of several the last one counts; a list has the items of all.
func (l *loader) flagValues(flags *pflag.FlagSet) source {
	values := source{}
	for _, k := range l.keys {
		texts := flags.Lookup(k.name).Value.(pflag.SliceValue).GetSlice()
		if k.kind == list && len(texts) > 0 {
			texts = []string{strings.Join(texts, ",")}
		}
		for _, last := range texts[max(0, len(texts)-1):] {
			l.parse(values, k, "--"+k.name, last)
		}
	}
	return values
}

// flagName returns the name in an argument, without what may be a value, which may be a secret.
func flagName(arg string) string {
	end := strings.IndexFunc(arg, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	})
	if end >= 0 {
		arg = arg[:end]
	}
	for _, key := range append([]string{"nats.url"}, secretKeys...) {
		if i := strings.Index(arg, key); i >= 0 {
			return arg[:i+len(key)] + "…"
		}
	}
	return arg
}

func (l *loader) unknownFlag(flags *pflag.FlagSet, arg string) {
	where := flagName(arg)
	name := strings.TrimLeft(where, "-")
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	// nearest compares with dashes as underscores: "--print_config" finds "print-config" all the same, one letter off.
	near := nearest(name, names)
	switch {
	case slices.Contains(l.sections(), name):
		l.fault(where, "%s cannot be a flag; put them in the file (--config), or as JSON in %s", name, Variable(name))
	case isKnown(name) && !has(l.keys, name):
		l.fault(where, "unknown flag: %s", otherPrograms(l.flavour, name))
	case near != "":
		l.fault(where, "unknown flag; did you mean --%s?", near)
	default:
		l.fault(where, "unknown flag; --help lists all")
	}
}
