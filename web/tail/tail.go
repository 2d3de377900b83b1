// Package tail shows everything on NATS below a prefix, as it passes: a stream of Server-Sent Events for the test page.
// It is for the open mode on loopback, where nothing is secret. cmd/edge does not link it.
package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxReaders = 4
	maxShown   = 4096    // bytes of a body that a reader gets
	maxWaiting = 512     // messages that wait for a reader; NATS's client drops and counts the rest
	maxBytes   = 8 << 20 // of those
	batch      = 25      // messages that a reader gets in one interval: a browser shows no more
	interval   = 100 * time.Millisecond
	// writeTimeout ends a reader that does not read.
	writeTimeout = 10 * time.Second
)

// Settings configure a Handler.
type Settings struct {
	NATS   nats.InProcessConnProvider
	Prefix string // first tokens of the subjects
	Log    *slog.Logger
}

// Handler answers requests of pages at its own origin on this machine. It is safe for concurrent use.
type Handler struct {
	Settings
	readers chan struct{} // one element for each
	ended   context.Context
	end     context.CancelFunc
}

// New returns a handler. Each reader has its own NATS connection, so without readers it costs nothing.
func New(s Settings) *Handler {
	h := &Handler{Settings: s, readers: make(chan struct{}, maxReaders)}
	h.ended, h.end = context.WithCancel(context.Background())
	return h
}

// Close ends all readers. It does not wait for them: their HTTP server does.
func (h *Handler) Close() { h.end() }

// ServeHTTP sends messages until the reader goes away: events of one Message each, and `dropped` events with the
// number of messages that were left out so far.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		http.Error(w, "Only GET is answered here.", http.StatusMethodNotAllowed)
		return
	}
	if !isOwnPage(r) {
		http.Error(w, "The live tail is for this server's own page on this machine.", http.StatusForbidden)
		return
	}
	select {
	case h.readers <- struct{}{}:
		defer func() { <-h.readers }()
	default:
		http.Error(w, fmt.Sprintf("The live tail has %d readers already: close one of them.", maxReaders), http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ended, cancel)()
	if err := h.send(ctx, w); err != nil && ctx.Err() == nil {
		h.Log.Debug("live tail ended", "error", err)
	}
}

// send writes to one reader until ctx ends or a write fails.
func (h *Handler) send(ctx context.Context, w http.ResponseWriter) error {
	nc, err := nats.Connect("", nats.InProcessServer(h.NATS), nats.Name("partyline live tail"), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // it only reports what Dropped counts
	if err != nil {
		http.Error(w, "The NATS inside does not accept the live tail.", http.StatusServiceUnavailable)
		return fmt.Errorf("tail: %w", err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(h.Prefix + ".>")
	if err == nil {
		err = sub.SetPendingLimits(maxWaiting, maxBytes)
	}
	if err == nil {
		err = nc.Flush() // what is published once the reader has the header is shown
	}
	if err != nil {
		http.Error(w, "The NATS inside does not accept the live tail.", http.StatusServiceUnavailable)
		return fmt.Errorf("tail: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	out := &stream{ResponseController: http.NewResponseController(w), w: w}
	if err := out.flush(); err != nil {
		return err
	}
	return out.pass(ctx, sub)
}

// stream is the response to one reader.
type stream struct {
	*http.ResponseController
	w       http.ResponseWriter
	dropped int // as the reader has it
}

// pass writes the messages of a subscription, batch by batch.
func (s *stream) pass(ctx context.Context, sub *nats.Subscription) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for n := 0; n < batch; n++ {
			m, err := sub.NextMsgWithContext(ctx)
			if errors.Is(err, nats.ErrSlowConsumer) {
				continue // reported once for many; Dropped counts them
			}
			if err != nil {
				return err
			}
			if err = s.event("", shown(m)); err != nil {
				return err
			}
			if waiting, _, err := sub.Pending(); err != nil || waiting == 0 {
				break
			}
		}
		if dropped, err := sub.Dropped(); err == nil && dropped > s.dropped {
			if err := s.event("dropped", dropped); err != nil {
				return err
			}
			s.dropped = dropped
		}
		if err := s.flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// event writes one event of Server-Sent Events. Its name may be "".
func (s *stream) event(name string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	_ = s.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err = fmt.Fprintf(s.w, "%sdata: %s\n\n", name, text)
	return err
}

func (s *stream) flush() error {
	_ = s.SetWriteDeadline(time.Now().Add(writeTimeout))
	return s.Flush()
}

// Message is a message as readers get it.
type Message struct {
	Subject string      `json:"subject"`
	Reply   string      `json:"reply,omitempty"`
	Header  nats.Header `json:"header,omitempty"`
	Body    string      `json:"body"`          // the beginning of a long one
	Size    int         `json:"size"`          // of the whole body, in bytes
	Cut     bool        `json:"cut,omitempty"` // whether Body is not all of it, or Header is left out
}

func shown(m *nats.Msg) Message {
	out := Message{Subject: m.Subject, Reply: m.Reply, Body: string(m.Data[:min(len(m.Data), maxShown)]), Size: len(m.Data), Header: m.Header}
	if m.Size()-len(m.Data)-len(m.Subject)-len(m.Reply) > maxShown {
		out.Header = nil
	}
	out.Cut = len(out.Body) < len(m.Data) || len(out.Header) < len(m.Header)
	return out
}

// isOwnPage reports whether a request comes from this machine, for a name of it, and from no other page. Browsers send
// Sec-Fetch-Site also where they send no Origin.
func isOwnPage(r *http.Request) bool {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isLoopback(peer) {
		return false
	}
	host := url.URL{Host: r.Host}
	if name := host.Hostname(); !strings.EqualFold(name, "localhost") && !isLoopback(name) {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" { // none: a person typed the URL
		return false
	}
	for _, origin := range r.Header["Origin"] {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		if !strings.EqualFold(origin, scheme+"://"+r.Host) {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
