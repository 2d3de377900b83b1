// Package node is what the programs share, from the command line to the last goroutine: main calls Main and exits
// with its result.
//
// It ends from the outside to the inside. A signal makes the edge not ready, and drains its sessions, each with a
// disconnect notice. The HTTP servers stop, the operator's last. The remaining sessions are closed. The outbox is
// published, the NATS connection closed, and the embedded NATS stopped, if there is one. The last log lines are
// written. When Run returns, nothing runs any more, except perhaps a write to a log that is not read.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/term"

	"partyline/cmd/internal/tokens"
	"partyline/config"
	"partyline/internal/logqueue"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // it could not run, or --health failed
	exitConfig = 2 // the configuration is bad
)

// Flavour is what differs between the programs. The NATS server is a field because cmd/edge must not link
// nats-server.
type Flavour struct {
	Name config.Flavour

	// StartNATS runs a NATS server inside the process; nil if NATS is elsewhere. If it cannot listen, its error wraps
	// a *net.OpError.
	StartNATS func(config.Config, *slog.Logger) (NATS, error)
}

// NATS is a NATS server inside the process.
type NATS interface {
	ClientURL() string                // returns where other NATS clients connect
	InProcessConn() (net.Conn, error) // opens a connection without a socket
	Shutdown()                        // ends the server and waits for it
}

// Main runs a program with the process's arguments, environment and signals, and returns its exit status. The first
// SIGINT or SIGTERM ends it as the package comment describes, the second at once.
func Main(f Flavour) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	// Writes to a log whose reader has gone fail. By default the signal would end the process, and all sessions.
	signal.Ignore(syscall.SIGPIPE)
	if len(os.Args) > 1 && os.Args[1] == "token" {
		return tokens.Run(ctx, f.Name, os.Args[2:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	}
	return Run(ctx, f, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// Run runs a program until ctx ends and returns its exit status: 0 if all went well, 1 if it could not run, 2 if its
// configuration is bad. When it returns, nothing of it runs any more.
func Run(ctx context.Context, f Flavour, args, environ []string, stdout, stderr io.Writer) int {
	loaded, err := config.Load(f.Name, args, environ)
	if err != nil {
		return badConfig(f, loaded.Action, err, stderr)
	}
	c := loaded.Config
	switch loaded.Action {
	case config.ActionHelp:
		err = config.WriteHelp(stdout, f.Name)
	case config.ActionVersion:
		_, err = fmt.Fprintf(stdout, "partyline %s %s (%s %s/%s)\n",
			f.Name, Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case config.ActionPrintConfig:
		for _, warning := range loaded.Warnings {
			fmt.Fprintf(stderr, "%s: warning: %s\n", f.Name, warning)
		}
		var printed []byte
		if printed, err = c.YAML(f.Name); err == nil {
			_, err = stdout.Write(printed)
		}
	case config.ActionHealth:
		var sentence string
		if sentence, err = health(ctx, c.Admin.Listen); err == nil {
			_, err = fmt.Fprintln(stdout, sentence)
		}
	default:
		return start(ctx, f, loaded, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", f.Name, err)
		return exitFailed
	}
	return exitOK
}

// start serves until ctx ends, and returns the exit status.
func start(ctx context.Context, f Flavour, loaded config.Loaded, stderr io.Writer) int {
	log, lines := newLogger(stderr, loaded.Config.Log.Level)
	defer lines.Close(lastLines)
	for _, warning := range loaded.Warnings {
		log.Warn(warning)
	}
	if err := serve(ctx, f, loaded.Config, log, lines.Metrics()); err != nil {
		log.Error("cannot run", "error", err)
		return exitFailed
	}
	return exitOK
}

// badConfig prints what is wrong in the configuration, and returns the exit status.
func badConfig(f Flavour, action config.Action, err error, stderr io.Writer) int {
	var faults config.Faults
	if !errors.As(err, &faults) {
		fmt.Fprintf(stderr, "%s: %v\n", f.Name, err)
		return exitFailed
	}
	noun := "faults"
	if len(faults) == 1 {
		noun = "fault"
	}
	fmt.Fprintf(stderr, "%s: %d %s in the configuration:\n", f.Name, len(faults), noun)
	for _, fault := range faults {
		fmt.Fprintf(stderr, "  %s\n", fault)
	}
	if action == config.ActionHealth {
		return exitFailed // a container's health check has the statuses 0 and 1 only
	}
	return exitConfig
}

// version is set by the linker for releases: -ldflags "-X partyline/cmd/internal/node.version=v1.2.3".
var version string

// Version returns the program's version: that of the release, or that of the module in the build, or "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// lastLines bounds how long the last log lines may take to be written.
const lastLines = 2 * time.Second

// newLogger returns a logger that writes text to a terminal and JSON to everything else. config has checked level.
// The caller must Close the queue.
func newLogger(w io.Writer, level string) (*slog.Logger, *logqueue.Queue) {
	var least slog.Level
	_ = least.UnmarshalText([]byte(level))
	options := &slog.HandlerOptions{Level: least}
	format := func(out io.Writer) slog.Handler { return slog.NewJSONHandler(out, options) }
	if isTerminal(w) {
		format = func(out io.Writer) slog.Handler { return slog.NewTextHandler(out, options) }
	}
	queue, handler := logqueue.New(w, format)
	return slog.New(handler), queue
}

func isTerminal(w io.Writer) (yes bool) {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	raw, err := file.SyscallConn() // not Fd, which may make writes block beyond every deadline
	return err == nil && raw.Control(func(fd uintptr) { yes = term.IsTerminal(int(fd)) }) == nil && yes
}
