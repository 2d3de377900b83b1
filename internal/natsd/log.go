package natsd

import (
	"fmt"
	"log/slog"
	"sync"
)

// bridge writes nats-server's log to log. Notices of NATS (each start, the banner of JetStream) help only in
// debugging; the program itself logs where NATS listens.
type bridge struct {
	log *slog.Logger

	mu        sync.Mutex
	lastFatal string // guarded by mu; nats-server goes on after a fatal error, but its caller must not
}

func newBridge(log *slog.Logger) *bridge {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &bridge{log: log.With("from", "nats-server")}
}

// fatal returns the first error that kept the server from starting, or "".
func (b *bridge) fatal() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastFatal
}

// The methods below implement nats-server's Logger.

func (b *bridge) Noticef(format string, v ...any) { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Debugf(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Tracef(format string, v ...any)  { b.log.Debug(fmt.Sprintf(format, v...)) }
func (b *bridge) Warnf(format string, v ...any)   { b.log.Warn(fmt.Sprintf(format, v...)) }
func (b *bridge) Errorf(format string, v ...any)  { b.log.Warn(fmt.Sprintf(format, v...)) }

func (b *bridge) Fatalf(format string, v ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lastFatal == "" {
		b.lastFatal = fmt.Sprintf(format, v...)
	}
}
