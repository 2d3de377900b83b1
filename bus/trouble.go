package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"time"

	"partyline/internal/natsconn"
)

// lookEvery is how often the bus checks why it is not connected: nats.go does not report that NATS refused a first
// connection.
const lookEvery = 500 * time.Millisecond

// connectFailed logs why there is no connection, once a minute for each cause, and keeps it for Ready.
func (b *Bus) connectFailed(err error) {
	what, known := natsconn.Explain(err, b.identity)
	if words := b.state.words.Load(); !known && words != nil {
		err = errors.New("nats: " + *words)
		what, known = natsconn.Explain(err, b.identity)
	}
	if known {
		b.state.trouble.Store(&what)
	}
	b.complaints.Log(slog.LevelWarn, what, "", "", "url", b.url, "error", b.shown(err))
}

// hear keeps an error that NATS sends while connecting. The link calls it with all that it reads.
func (b *Bus) hear(p []byte) {
	if b.state.online.Load() {
		return
	}
	if _, after, found := bytes.Cut(p, []byte("-ERR '")); found {
		text, _, _ := bytes.Cut(after, []byte("'"))
		words := string(text)
		b.state.words.Store(&words)
	}
}

// watch checks why there is no connection, until the bus is closed.
func (b *Bus) watch() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-b.state.closed:
			return
		case <-ticker.C:
		}
		if b.Connected() {
			continue
		}
		if err := b.nc.LastError(); err != nil && !b.Connected() {
			if _, known := natsconn.Explain(err, b.identity); known || b.state.words.Load() != nil {
				b.connectFailed(err)
			}
		}
	}
}
