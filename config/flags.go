package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const (
	flagConfig = "config"
	flagHelp   = "help"
)

// commands are the flags that are no settings, in the order of --help. The first action that is asked for counts.
var commands = []struct {
	key
	action Action // ActionRun for --config
}{
	{key{name: flagConfig, arg: "FILE", help: "Read this YAML file."}, ActionRun},
	{key{name: flagHelp, kind: boolean, help: "Show this text."}, ActionHelp},
	{key{name: "version", kind: boolean, help: "Show the version."}, ActionVersion},
	{key{name: "print-config", kind: boolean, help: "Show the configuration as it would be used, secrets hidden, and exit."}, ActionPrintConfig},
	{key{name: "health", kind: boolean, help: "Ask the running program's health page and exit with status 0 or 1."}, ActionHealth},
}

// readFlags reads the arguments as texts. It does not use pflag's Parse, which would stop at the first fault.
func (l *loader) readFlags(args []string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(string(l.flavour), pflag.ContinueOnError)
	flags.SortFlags = false
	known := slices.Clone(l.keys)
	for _, c := range commands {
		known = append(known, c.key)
	}
	for _, k := range known {
		flags.StringArray(k.name, nil, k.help)
		if k.kind == boolean {
			flags.Lookup(k.name).NoOptDefVal = "true"
		}
	}
	var strays []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "-h" {
			arg = "--" + flagHelp
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := flags.Lookup(name)
		switch {
		case arg == "--":
			strays, args = append(strays, args...), nil
			continue
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			strays = append(strays, arg)
			continue
		case flag == nil || !strings.HasPrefix(arg, "--"+name):
			l.unknownFlag(flags, arg, name)
			if !hasValue && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				args = args[1:] // its value
			}
			continue
		case hasValue:
		case flag.NoOptDefVal != "":
			value = flag.NoOptDefVal
		case len(args) == 0:
			l.fault("--"+name, "needs a value")
			continue
		default:
			value, args = args[0], args[1:]
		}
		if err := flags.Set(name, value); err != nil {
			l.fault("--"+name, "%v", err)
		}
	}
	for _, argument := range strays {
		l.stray(argument, slices.ContainsFunc(secretKeys, flags.Changed))
	}
	for _, c := range commands {
		if given := flags.Changed(c.name); given && c.kind == boolean {
			l.parse(c.key, "--"+c.name, flagText(flags.Lookup(c.name)))
		} else if given && flagText(flags.Lookup(c.name)) == "" {
			l.fault("--"+c.name, "needs the path of a YAML file")
		}
	}
	return flags
}

// flagText is the text of a flag, "" if it is not given. The last one counts.
func flagText(flag *pflag.Flag) string {
	texts := flag.Value.(pflag.SliceValue).GetSlice()
	if len(texts) == 0 {
		return ""
	}
	return texts[len(texts)-1]
}

// actionOf is the first action that the flags ask for.
func actionOf(flags *pflag.FlagSet) Action {
	for _, c := range commands {
		if asked, _ := parseBool(flagText(flags.Lookup(c.name))); asked {
			return c.action
		}
	}
	return ActionRun
}

// flagValue gives koanf the value of a flag. The flag of a list may be repeated.
func (l *loader) flagValue(flag *pflag.Flag) (string, any) {
	i := slices.IndexFunc(l.keys, func(k key) bool { return k.name == flag.Name })
	if i < 0 || !flag.Changed {
		return "", nil
	}
	k, text := l.keys[i], flagText(flag)
	if k.kind == list {
		text = strings.Join(flag.Value.(pflag.SliceValue).GetSlice(), ",")
	}
	return l.parse(k, "--"+k.name, text)
}

// stray adds the fault of an argument that is no flag. It does not repeat what may be a secret: a blank in a secret that is not
// quoted makes an argument of its rest.
func (l *loader) stray(argument string, besideSecret bool) {
	if besideSecret || isSecretItself(argument) {
		l.fault("command line", "unexpected argument, not shown because it may be part of a secret; put values with blanks in quotes")
		return
	}
	l.fault("command line", "unexpected argument %s; every setting is a flag, see --help", quoteURL(argument))
}

func (l *loader) unknownFlag(flags *pflag.FlagSet, arg, name string) {
	where, _, _ := strings.Cut(arg, "=") // never the value, which may be a secret
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	// nearest compares with dashes as underscores: "--print_config" finds "print-config" all the same, one letter off.
	near := nearest(name, names)
	switch {
	case name == namespacesKey:
		l.fault(where, "namespaces cannot be a flag; put them in the file (--config), or as JSON in %s", namespacesEnv)
	case has(allKeys, name) && !has(l.keys, name):
		l.fault(where, "unknown flag: %s", otherProgram[l.flavour])
	case near != "":
		l.fault(where, "unknown flag; did you mean --%s?", near)
	default:
		l.fault(where, "unknown flag; --help lists all")
	}
}
