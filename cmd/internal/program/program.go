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
	"sync"
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

	// Serve runs the program until ctx ends or a part fails. When it returns, nothing of it runs any more.
	Serve func(ctx context.Context, s Start) error

	// Check finds what only this program can say of a configuration, for --check-config. nil: there is nothing.
	Check func(config.Config) error

	// Commands are what the program does instead if its first argument is their name. They return the exit status.
	Commands map[string]func(context.Context, Call) int
}

// Start is what Serve gets.
type Start struct {
	Config  config.Config
	Log     *slog.Logger
	Metrics *tally.Set // of the log and of reloads
	Reloads *Reloads   // Begin must be called once the program runs
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
	return run(ctx, p, os.Args[1:], os.Environ(), os.Stdout, os.Stderr, takeHangups())
}

// Run runs a program until ctx ends and returns its exit status: 0 if all went well, 1 if it could not run, 2 if its
// configuration is bad. When it returns, nothing of it runs any more.
func Run(ctx context.Context, p Program, args, environ []string, stdout, stderr io.Writer) int {
	return run(ctx, p, args, environ, stdout, stderr, &hangups{})
}

func run(ctx context.Context, p Program, args, environ []string, stdout, stderr io.Writer, h *hangups) int {
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
	case config.ActionCheck:
		warn(p, loaded, stderr)
		if p.Check != nil {
			if err := p.Check(c); err != nil {
				return badConfig(p, loaded.Action, config.Faults{{Problem: err.Error()}}, stderr)
			}
		}
		_, err = fmt.Fprintln(stdout, "the configuration has no faults")
	case config.ActionPrintConfig:
		warn(p, loaded, stderr)
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
		return start(ctx, p, loaded, stderr, h, func() (config.Loaded, error) { return config.Load(p.Name, args, environ) })
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return ExitFailed
	}
	return ExitOK
}

// warn prints what is odd in a configuration, and no fault.
func warn(p Program, loaded config.Loaded, stderr io.Writer) {
	for _, warning := range loaded.Warnings {
		fmt.Fprintf(stderr, "%s: warning: %s\n", p.Name, warning)
	}
}

// start serves until ctx ends, and returns the exit status. load reads the configuration again.
func start(ctx context.Context, p Program, loaded config.Loaded, stderr io.Writer, h *hangups, load func() (config.Loaded, error)) int {
	var level slog.LevelVar
	setLevel(&level, loaded.Config.Log.Level)
	log, lines := newLogger(stderr, &level)
	defer lines.Close(lastLines)
	for _, warning := range loaded.Warnings {
		log.Warn(warning)
	}
	s := Start{Config: loaded.Config, Log: log, Metrics: lines.Metrics()}
	s.Reloads = &Reloads{
		load: load, log: log, level: &level, begun: make(chan struct{}), current: config.NewRunning(p.Name, loaded.Config),
	}
	s.Reloads.metrics(s.Metrics)
	ctx, end := context.WithCancelCause(ctx)
	var following sync.WaitGroup
	following.Go(func() { h.follow(ctx, s.Reloads, end) })
	err := p.Serve(ctx, s)
	end(nil)
	following.Wait()
	if err != nil {
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

// setLevel sets the level from its name, which config has checked.
func setLevel(level *slog.LevelVar, name string) {
	var least slog.Level
	_ = least.UnmarshalText([]byte(name))
	level.Set(least)
}

// newLogger returns a logger that writes text to a terminal and JSON to everything else. The caller must Close the
// queue.
func newLogger(w io.Writer, level slog.Leveler) (*slog.Logger, *logqueue.Queue) {
	options := &slog.HandlerOptions{Level: level}
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
