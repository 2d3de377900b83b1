package node

import (
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"partyline/internal/logqueue"
)

// lastLines bounds how long the last log lines may take to be written.
const lastLines = 2 * time.Second

// newLogger returns a logger that writes text to a terminal and JSON to everything else. config has checked level.
// The caller must Close the queue.
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
	raw, err := file.SyscallConn() // not Fd, which may make writes block beyond every deadline
	return err == nil && raw.Control(func(fd uintptr) { yes = term.IsTerminal(int(fd)) }) == nil && yes
}
