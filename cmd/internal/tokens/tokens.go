// Package tokens is the command token of both programs. It makes tokens for development, and explains others.
package tokens

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"partyline/config"
	"partyline/wire/msg"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // the token is refused, or could not be made
	exitUsage  = 2 // the arguments or the configuration are bad
)

// command is one call of the program.
type command struct {
	program        config.Flavour
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer

	file   string // of the configuration
	check  bool
	secret string // a file
	issuer string
	life   time.Duration
	data   string
	grant  msg.Grant
	rest   []string
}

const usage = `Usage: %[1]s token [--config FILE | --secret FILE] --user NAME [flags]
       %[1]s token --check [--config FILE] [TOKEN]

Makes a token for development and prints it, or explains the token that is an argument or the input: what it grants in
each namespace, or why it is refused. The exit status is 0 if a namespace accepts it.

The configuration comes from FILE and the environment. With --secret it needs none: the file is made if there is none, and
the lines for a configuration go to the standard error output. So two lines are enough to begin:

  %[1]s token --secret dev.secret --user ann 2>dev.yaml
  embedded --config dev.yaml

Flags
`

// Run runs the command and returns its exit status. args are those behind the word token.
func Run(ctx context.Context, program config.Flavour, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &command{program: program, environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	if err := c.parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return c.fail(exitUsage, err)
	}
	if c.check {
		return c.explain(ctx)
	}
	return c.make()
}

func (c *command) fail(status int, err error) int {
	fmt.Fprintf(c.stderr, "%s token: %v\n", c.program, err)
	return status
}

// parse reads the arguments.
func (c *command) parse(args []string) error {
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // its errors repeat arguments
	flags.StringVar(&c.file, "config", "", "read this YAML `FILE`")
	flags.BoolVar(&c.check, "check", false, "explain a token instead of making one")
	flags.StringVar(&c.secret, "secret", "", "sign with the secret in this `FILE`, which is made if there is none")
	flags.StringVar(&c.issuer, "issuer", "", "`NAME` of the issuer in the configuration (default: the only one with hmac_secret_file)")
	flags.StringVar(&c.grant.User, "user", "", "`NAME` of the user")
	flags.DurationVar(&c.life, "for", 0, "how long it is valid, such as 10m (default: 1h, or max_lifetime if that is shorter)")
	flags.Var((*list)(&c.grant.Rooms), "rooms", "`ROOMS` to enter, separated by commas")
	flags.Var((*list)(&c.grant.Join), "join", "`PATTERNS` of rooms that the client may join, separated by commas; empty: none (default: what the namespace allows)")
	flags.Var((*list)(&c.grant.Leave), "leave", "the same for leaving: `PATTERNS`")
	flags.Var((*list)(&c.grant.Emit), "emit", "the same for events: `PATTERNS`")
	flags.StringVar(&c.data, "data", "", "`JSON` that is kept with the socket")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(c.stdout, usage, c.program)
		flags.SetOutput(c.stdout)
		flags.PrintDefaults()
		return err
	case err != nil:
		return errors.New("an argument is unknown or has a bad value; --help lists all")
	case c.check && flags.NArg() > 1 || !c.check && flags.NArg() > 0:
		return errors.New("there are too many arguments; --help lists all")
	case !c.check && c.grant.User == "":
		return errors.New("--user is missing; name the user of the token, or ask for --check")
	case c.secret != "" && c.file != "":
		return errors.New("--secret and --config are given; an issuer in the configuration has a secret of its own")
	}
	c.rest = flags.Args()
	return nil
}

// list is a flag with several values. Once it is given it is not nil.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(s string) error {
	if *l == nil {
		*l = list{}
	}
	for one := range strings.SplitSeq(s, ",") {
		if one = strings.TrimSpace(one); one != "" {
			*l = append(*l, one)
		}
	}
	return nil
}

// load reads the configuration.
func (c *command) load() (config.Config, error) {
	var args []string
	if c.file != "" {
		args = []string{"--config", c.file}
	}
	loaded, err := config.Load(c.program, args, c.environ)
	if err != nil {
		return config.Config{}, fmt.Errorf("the configuration has faults:\n%w", err)
	}
	return loaded.Config, nil
}
