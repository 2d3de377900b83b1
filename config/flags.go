package config

import (
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// commandLine is what the arguments say.
type commandLine struct {
	source
	action Action
	file   string // --config, or ""
}

// flagText is the text of a key's flag. A list's flag may be repeated.
type flagText struct {
	text  string
	given bool
	list  bool
}

func (f *flagText) String() string { return f.text }
func (f *flagText) Type() string   { return "text" }

// Set takes any text: what is wrong with it is reported together with all other faults.
func (f *flagText) Set(s string) error {
	if f.list && f.given {
		s = f.text + "," + s
	}
	f.text, f.given = s, true
	return nil
}

// Flags that are no keys.
const (
	flagConfig      = "config"
	flagHelp        = "help"
	flagVersion     = "version"
	flagPrintConfig = "print-config"
	flagHealth      = "health"
)

var actionFlags = []struct {
	name   string
	letter string
	action Action
	help   string
}{
	{flagHelp, "h", ActionHelp, "Show this text."},
	{flagVersion, "", ActionVersion, "Show the version."},
	{flagPrintConfig, "", ActionPrintConfig, "Show the configuration as it would be used, secrets hidden, and exit."},
	{flagHealth, "", ActionHealth, "Ask the running program's health page and exit with status 0 or 1."},
}

// readFlags reads the arguments.
func (l *loader) readFlags(args []string) commandLine {
	flags := pflag.NewFlagSet(string(l.flavour), pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	file := flags.String(flagConfig, "", "")
	asked := map[Action]*bool{}
	for _, a := range actionFlags {
		asked[a.action] = flags.BoolP(a.name, a.letter, false, "")
	}
	texts := map[string]*flagText{}
	for _, k := range l.keys {
		texts[k.name] = &flagText{list: k.kind == list}
		flag := flags.VarPF(texts[k.name], k.name, "", "")
		if k.kind == boolean {
			flag.NoOptDefVal = "true"
		}
	}

	if err := flags.Parse(l.checkFlags(flags, args)); err != nil {
		l.fault("command line", "%v", err)
	}
	for _, stray := range flags.Args() {
		l.stray(stray, flags.Changed("nats.token") || flags.Changed("edges.secret"))
	}
	line := commandLine{source: newSource(), file: *file}
	if flags.Changed(flagConfig) && *file == "" {
		l.fault("--config", "needs the path of a YAML file")
	}
	for _, a := range actionFlags {
		if *asked[a.action] {
			line.action = a.action
			break
		}
	}
	for _, k := range l.keys {
		if t := texts[k.name]; t.given {
			l.take(line.source, k, "--"+k.name, t.text)
		}
	}
	return line
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

// checkFlags notes the unknown flags and returns the other arguments. pflag alone would stop at the first.
func (l *loader) checkFlags(flags *pflag.FlagSet, args []string) []string {
	var good []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(good, args[i:]...)
		}
		if arg == "-h" || arg == "-" || !strings.HasPrefix(arg, "-") {
			good = append(good, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := flags.Lookup(name)
		last := i+1 == len(args)
		switch {
		case flag == nil || !strings.HasPrefix(arg, "--"):
			l.unknownFlag(flags, arg, name)
			if !hasValue && !last && !strings.HasPrefix(args[i+1], "-") {
				i++ // its value
			}
		case hasValue || flag.NoOptDefVal != "":
			good = append(good, arg)
		case last:
			l.fault("--"+name, "needs a value")
		default:
			good = append(good, arg, args[i+1])
			i++
		}
	}
	return good
}

func (l *loader) unknownFlag(flags *pflag.FlagSet, arg, name string) {
	where, _, _ := strings.Cut(arg, "=") // never the value, which may be a secret
	if name == namespacesKey {
		l.fault(where, "namespaces cannot be a flag; put them in the file (--config), or as JSON in %s", namespacesEnv)
		return
	}
	if why := elsewhere(l.flavour, name); why != "" {
		l.fault(where, "unknown flag: %s", why)
		return
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	// nearest compares with dashes as underscores: "--print_config" finds "print-config" all the same, one letter off.
	near := nearest(name, names)
	if near == "" {
		l.fault(where, "unknown flag; --help lists all")
		return
	}
	l.fault(where, "unknown flag; did you mean --%s?", near)
}
