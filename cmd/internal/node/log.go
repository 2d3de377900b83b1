package node

import (
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"partyline/internal/logqueue"
)

// lastLines is how long the last lines of the log may take to be written at the end.
const lastLines = 2 * time.Second

// newLogger logs text for a person at a terminal and JSON for everything else. level is one that config has checked. The
// caller must Close the queue.
func newLogger(w io.Writer, level string) (*slog.Logger, *logqueue.Queue) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		least = slog.LevelInfo
	}
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
	raw, err := file.SyscallConn() // file.Fd may make writes blocking, and then no deadline ends them
	return err == nil && raw.Control(func(fd uintptr) { yes = term.IsTerminal(int(fd)) }) == nil && yes
}
