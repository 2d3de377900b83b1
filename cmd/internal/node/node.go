// Package node is what the programs that hold clients share, from the command line to the last goroutine: main calls
// Main and exits with its result.
//
// It ends from the outside to the inside. A signal makes the edge not ready, and drains its sessions, each with a
// disconnect notice. The HTTP servers stop, the operator's last. The remaining sessions are closed. The outbox is
// published, the NATS connection closed, and the embedded NATS stopped, if there is one. The last log lines are
// written. When Run returns, nothing runs any more, except perhaps a write to a log that is not read.
package node

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"

	"partyline/cmd/internal/program"
	"partyline/cmd/internal/tokens"
	"partyline/config"
	"partyline/internal/front"
	"partyline/internal/tally"
)

// Flavour is what differs between the programs. The NATS server is a field because cmd/edge must not link
// nats-server.
type Flavour struct {
	Name config.Flavour

	// StartNATS runs a NATS server inside the process; nil if NATS is elsewhere. If it cannot listen, its error wraps
	// a *net.OpError.
	StartNATS func(config.Config, *slog.Logger) (NATS, error)

	// OpenGateway makes a gateway inside the process, over the NATS there; nil if there is never one. It is a field
	// because cmd/edge must not link it.
	OpenGateway func(config.Config, NATS, *slog.Logger) (Gateway, error)

	// Check finds what only this program can say of a configuration; see program.Program. nil: nothing.
	Check func(config.Config) error

	// OpenTail makes the live tail of the test page, in the open mode; nil if there is never one. It is a field because
	// cmd/edge must not link it.
	OpenTail func(config.Config, NATS, *slog.Logger) Tail

	Commands map[string]func(context.Context, program.Call) int // beside token; see program.Program
}

// Gateway is a gateway inside the process.
type Gateway interface {
	Start(context.Context) error // returns nil if ctx has ended
	Ready() []string
	Metrics() []*tally.Set
	Prepare(config.Config) (use func(), err error)           // use makes it go on with another configuration
	Site(config.Config, *slog.Logger) (*program.Site, error) // opens its listener; nil if it has none
	Close()
}

// Tail is the live tail of the test page.
type Tail interface {
	http.Handler
	Close() // ends its requests
}

// NATS is a NATS server inside the process.
type NATS interface {
	front.NATS
	Shutdown() // ends the server and waits for it
}

// Main runs a program with the process's arguments, environment and signals, and returns its exit status. The first
// SIGINT or SIGTERM ends it as the package comment describes, the second at once.
func Main(f Flavour) int { return program.Main(f.program()) }

// Run runs a program until ctx ends and returns its exit status; see program.Run.
func Run(ctx context.Context, f Flavour, args, environ []string, stdout, stderr io.Writer) int {
	return program.Run(ctx, f.program(), args, environ, stdout, stderr)
}

func (f Flavour) program() program.Program {
	commands := map[string]func(context.Context, program.Call) int{
		"token": func(ctx context.Context, c program.Call) int {
			return tokens.Run(ctx, f.Name, c.Args, c.Environ, c.Stdin, c.Stdout, c.Stderr)
		},
	}
	maps.Copy(commands, f.Commands)
	return program.Program{
		Name:     f.Name,
		Check:    f.Check,
		Serve:    func(ctx context.Context, s program.Start) error { return serve(ctx, f, s) },
		Commands: commands,
	}
}
