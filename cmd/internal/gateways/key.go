package gateways

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"partyline/cmd/internal/program"
	"partyline/gateway/api"
)

// key is the command key. It prints a new key of the HTTP API, which nothing shows again, and on the standard error
// output the lines for the configuration, which have its hash.
func key(_ context.Context, c program.Call) int {
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	flags.SetOutput(c.Stderr)
	name := flags.String("name", "mine", "the key's `NAME` in the configuration, the log and metrics")
	switch err := flags.Parse(c.Args); {
	case errors.Is(err, flag.ErrHelp):
		return program.ExitOK
	case err != nil || flags.NArg() > 0:
		fmt.Fprintln(c.Stderr, "key takes no arguments but --name NAME")
		return program.ExitConfig
	}
	made := api.NewKey()
	fmt.Fprintf(c.Stderr, `# Keep the key, which is shown only now. What it may do is up to you:
api:
  keys:
    - name: %q
      hash: %q
      namespaces: ["/"]
      verbs: [emit, broadcast]
      rooms: ["*"]
      may: []
`, *name, api.HashKey(made))
	fmt.Fprintln(c.Stdout, made)
	return program.ExitOK
}
