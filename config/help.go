package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

var summaries = map[Flavour]string{
	FlavourEdge:     "Holds the connections of Socket.IO clients and lets them talk over a NATS that runs elsewhere.",
	FlavourGateway:  "Lets clients, and those who cannot hold a NATS connection, talk over HTTP: hooks, an API, and the Admin UI.",
	FlavourEmbedded: "Holds the connections of Socket.IO clients, with NATS inside: for development and small sites.",
}

// commands are what the programs do beside running.
var commands = map[Flavour]string{
	FlavourEdge: tokenCommand, FlavourEmbedded: tokenCommand + gatewayCommands, FlavourGateway: gatewayCommands,
}

const (
	tokenCommand    = "       PROGRAM token [flags]    (makes or explains a token, see its --help)\n"
	gatewayCommands = "       PROGRAM key [--name NAME]    (makes a key for the HTTP API, and its lines for the configuration)\n" +
		"       PROGRAM user NAME            (asks for a password, and makes the line of ui.users_file)\n"
)

// liveMark stands behind the variable of a key that reloads.
const liveMark = ", reloads"

// WriteHelp writes what --help shows: every key with its default, its flag and its variable, by group.
func WriteHelp(w io.Writer, f Flavour) error {
	values := Default(f).values()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage: %s [--config FILE] [flags]\n%s", summaries[f], f, strings.ReplaceAll(commands[f], "PROGRAM", string(f)))
	b.WriteString(`
A setting has the same name in the YAML file (nats.url is url below nats) and as a flag; each one's environment
variable stands below it. Flags win over the environment, the environment wins over the file. Lists are separated by
commas, durations are written 25s or 1m30s, and a flag without a value is true (--page, --page=false).

SIGHUP and POST /reload at admin.listen read the file again. That changes the sections at the end of this text, and what is
marked "` + strings.TrimPrefix(liveMark, ", ") + `"; all else needs a restart, and a file that changes it is refused.
`)
	fmt.Fprintf(&b, "\nCommands\n  --%s FILE\n      Read this YAML file; without the flag, the one that %s names.\n", flagConfig, variableFor)
	fmt.Fprintf(&b, "  --%s FILE\n      Check this file, the environment and the flags, and exit with status 0 or 2.\n", flagCheck)
	for _, a := range actions {
		name := "--" + a.name
		if a.letter != "" {
			name = "-" + a.letter + ", " + name
		}
		fmt.Fprintf(&b, "  %s\n      %s\n", name, a.help)
	}
	group := ""
	for _, k := range keysOf(f) {
		if k.group != group {
			group = k.group
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		fmt.Fprintf(&b, "  %s\n      %s", strings.TrimSpace("--"+k.name+" "+k.arg), k.help)
		if shown := showDefault(values.Get(k.name)); shown != "" {
			fmt.Fprintf(&b, " Default: %s", shown)
		}
		fmt.Fprintf(&b, "\n      %s", k.env())
		if k.live {
			b.WriteString(liveMark)
		}
		b.WriteByte('\n')
	}
	for _, section := range sections {
		if !slices.Contains(section.in, f) {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n  In the file below %s, or as JSON in %s; no flag. %s\n", section.title, section.name, Variable(section.name), section.help)
		switch {
		case section.name != namespacesKey:
		case f == FlavourEmbedded:
			b.WriteString("  Default: everything is open, on loopback only.\n")
		default:
			b.WriteString("  Default: {\"/\": {\"connect\": \"service\"}}\n")
		}
	}
	b.WriteString("  --print-config shows the sections in use, and docs/configuration.md explains them.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// showDefault writes a default as a flag would take it; "" if there is none.
func showDefault(value any) string {
	if items, isList := value.([]string); isList {
		return strings.Join(items, ",")
	}
	return fmt.Sprint(value)
}
