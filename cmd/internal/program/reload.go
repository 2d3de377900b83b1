package program

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"partyline/config"
	"partyline/internal/tally"
)

// outcome is how a reload ended.
type outcome uint8

const (
	reloaded     outcome = iota
	faulty               // the configuration has faults
	needsRestart         // it is good, and changes what only a restart changes
	failed               // what it names could not be read, or the program has not started yet
	outcomes
)

var outcomeWords = [outcomes]string{"reloaded", "faulty", "needs restart", "failed"}

// errStarting is returned for a reload before the program runs.
var errStarting = errors.New("the program has not started yet, or stops: try again")

// errHungUp is why a program ends whose terminal is gone.
var errHungUp = errors.New("its terminal is gone")

// Reloads reads the configuration of a running program again, from where it came from: the file may have changed since.
// A configuration that is faulty, or that needs a restart, changes nothing. It is safe for concurrent use.
type Reloads struct {
	load  func() (config.Loaded, error)
	log   *slog.Logger
	level *slog.LevelVar
	done  [outcomes]tally.Counter
	begun chan struct{} // closed by Begin

	mu      sync.Mutex // held while the configuration is read and used
	current *config.Running
	prepare func(config.Config) (use func(), err error) // guarded by mu; nil while the program does not run
}

// Begin, called once, lets reloads begin: prepare returns what makes the program go on with another configuration, or an error before
// anything has changed. end waits for a reload under way, and lets none begin any more.
func (r *Reloads) Begin(prepare func(config.Config) (use func(), err error)) (end func()) {
	set := func(prepare func(config.Config) (func(), error)) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.prepare = prepare
	}
	set(prepare)
	close(r.begun)
	return func() { set(nil) }
}

// Reload reads the configuration and goes on with it. The error lists why not, one reason a line. unfit: the
// configuration itself is good.
func (r *Reloads) Reload() (unfit bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.load()
	out := faulty
	var changes []string
	if err == nil {
		out, changes, err = r.use(next)
	}
	r.done[out].Inc()
	if err != nil {
		r.log.Error("the configuration was not reloaded, and the one before stays", "outcome", outcomeWords[out],
			"problems", strings.Split(err.Error(), "\n"))
		return out != faulty, err
	}
	for _, warning := range next.Warnings {
		r.log.Warn(warning)
	}
	r.log.Info("the configuration was reloaded", "changed", changes)
	return false, nil
}

// use goes on with a configuration. Reload holds the lock.
func (r *Reloads) use(next config.Loaded) (out outcome, changes []string, err error) {
	if faults := r.current.Restarts(next); len(faults) > 0 {
		return needsRestart, nil, faults
	}
	if r.prepare == nil {
		return failed, nil, errStarting
	}
	use, err := r.prepare(next.Config)
	if err != nil {
		return failed, nil, err
	}
	use()
	changes = r.current.Changes(next.Config)
	r.current.Use(next.Config)
	setLevel(r.level, next.Config.Log.Level)
	return reloaded, changes, nil
}

// metrics adds what is counted to a set.
func (r *Reloads) metrics(set *tally.Set) {
	set.LabelledCounters(r.done[:], "reloads_total", "Times that the configuration was to be read again, by outcome.", "outcome", outcomeWords[:])
}

// hangups is SIGHUP, which reloads.
type hangups struct {
	signals chan os.Signal // nil: none come
	endsIt  bool           // it also says that the terminal is gone in which the program was started
}

// takeHangups takes SIGHUP from now on. One that comes before follow waits.
func takeHangups() *hangups {
	h := &hangups{signals: make(chan os.Signal, 1), endsIt: !signal.Ignored(syscall.SIGHUP) && hasTerminal()}
	signal.Notify(h.signals, syscall.SIGHUP)
	return h
}

// follow reloads for each SIGHUP, until ctx ends. One that comes while the program starts waits. hungUp is called when the
// terminal of the program is gone.
func (h *hangups) follow(ctx context.Context, r *Reloads, hungUp context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.signals:
		}
		if h.endsIt && !hasTerminal() {
			hungUp(errHungUp)
			return
		}
		select {
		case <-ctx.Done():
		case <-r.begun:
			_, _ = r.Reload() // which logs what it returns
		}
	}
}

// hasTerminal reports whether the process has a terminal that controls it.
func hasTerminal() bool {
	terminal, err := os.Open("/dev/tty")
	if err == nil {
		_ = terminal.Close()
	}
	return err == nil
}
