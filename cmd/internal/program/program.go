// Package program is what all programs share: the command line, the configuration and its faults, the log, --health,
// the version, and HTTP servers on their listeners.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/term"

	"partyline/config"
	"partyline/internal/logqueue"
	"partyline/internal/tally"
)

// Exit statuses.
const (
	ExitOK     = 0
	ExitFailed = 1 // it could not run, or --health failed
	ExitConfig = 2 // the configuration is bad
)

// Program is what differs between the programs.
type Program struct {
	Name config.Flavour

	// Serve runs the program until ctx ends or a part fails. When it returns, nothing of it runs any more. logMetrics
	// are those of the log.
	Serve func(ctx context.Context, c config.Config, log *slog.Logger, logMetrics *tally.Set) error

	// Commands are what the program does instead if its first argument is their name. They return the exit status.
	Commands map[string]func(context.Context, Call) int
}

// Call is one call of a command. Args are those behind its name.
type Call struct {
	Args, Environ  []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Main runs a program with the process's arguments, environment and signals, and returns its exit status. The first
// SIGINT or SIGTERM ends what Serve runs, the second ends the process at once.
func Main(p Program) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	// Writes to a log whose reader has gone fail. By default the signal would end the process, and all sessions.
	signal.Ignore(syscall.SIGPIPE)
	if len(os.Args) > 1 && p.Commands[os.Args[1]] != nil {
		return p.Commands[os.Args[1]](ctx, Call{os.Args[2:], os.Environ(), os.Stdin, os.Stdout, os.Stderr})
	}
	return Run(ctx, p, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// Run runs a program until ctx ends and returns its exit status: 0 if all went well, 1 if it could not run, 2 if its
// configuration is bad. When it returns, nothing of it runs any more.
func Run(ctx context.Context, p Program, args, environ []string, stdout, stderr io.Writer) int {
	loaded, err := config.Load(p.Name, args, environ)
	if err != nil {
		return badConfig(p, loaded.Action, err, stderr)
	}
	c := loaded.Config
	switch loaded.Action {
	case config.ActionHelp:
		err = config.WriteHelp(stdout, p.Name)
	case config.ActionVersion:
		_, err = fmt.Fprintf(stdout, "partyline %s %s (%s %s/%s)\n",
			p.Name, Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case config.ActionPrintConfig:
		for _, warning := range loaded.Warnings {
			fmt.Fprintf(stderr, "%s: warning: %s\n", p.Name, warning)
		}
		var printed []byte
		if printed, err = c.YAML(p.Name); err == nil {
			_, err = stdout.Write(printed)
		}
	case config.ActionHealth:
		var sentence string
		if sentence, err = health(ctx, c.Admin.Listen); err == nil {
			_, err = fmt.Fprintln(stdout, sentence)
		}
	default:
		return start(ctx, p, loaded, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitFailed
	}
	return ExitOK
}

// start serves until ctx ends, and returns the exit status.
func start(ctx context.Context, p Program, loaded config.Loaded, stderr io.Writer) int {
	log, lines := newLogger(stderr, loaded.Config.Log.Level)
	defer lines.Close(lastLines)
	for _, warning := range loaded.Warnings {
		log.Warn(warning)
	}
	if err := p.Serve(ctx, loaded.Config, log, lines.Metrics()); err != nil {
		log.Error("cannot run", "error", err)
		return ExitFailed
	}
	return ExitOK
}

// badConfig prints what is wrong in the configuration, and returns the exit status.
func badConfig(p Program, action config.Action, err error, stderr io.Writer) int {
	var faults config.Faults
	if !errors.As(err, &faults) {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitFailed
	}
	noun := "faults"
	if len(faults) == 1 {
		noun = "fault"
	}
	fmt.Fprintf(stderr, "%s: %d %s in the configuration:\n", p.Name, len(faults), noun)
	for _, fault := range faults {
		fmt.Fprintf(stderr, "  %s\n", fault)
	}
	if action == config.ActionHealth {
		return ExitFailed // a container's health check has the statuses 0 and 1 only
	}
	return ExitConfig
}

// version is set by the linker for releases: -ldflags "-X partyline/cmd/internal/program.version=v1.2.3".
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
		format = func(out io.Writer) slog.Handler { return terminal{slog.NewTextHandler(out, options), out} }
	}
	queue, handler := logqueue.New(w, format)
	return slog.New(handler), queue
}

// terminal is the handler of a log that a person reads.
type terminal struct {
	slog.Handler
	out io.Writer
}

// Tell writes whole lines behind those of the log, if a person reads it. log is the one that Serve got.
func Tell(log *slog.Logger, lines string) {
	if t, ok := log.Handler().(terminal); ok {
		_, _ = io.WriteString(t.out, lines) // the queue never fails
	}
}

func isTerminal(w io.Writer) (yes bool) {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	raw, err := file.SyscallConn() // not Fd, which may make writes block beyond every deadline
	return err == nil && raw.Control(func(fd uintptr) { yes = term.IsTerminal(int(fd)) }) == nil && yes
}
