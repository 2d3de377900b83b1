package bus

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// lookEvery is how often the bus looks why it is not connected: nats.go does not report that NATS
// refused a first connection.
const lookEvery = 500 * time.Millisecond

// unreachable is what the log says when nothing better is known.
const unreachable = "cannot reach NATS, trying again until it answers (see nats.url)"

// identity returns, for the log, what a configuration shows to NATS. It names keys and no values.
func identity(cfg Config) string {
	switch {
	case cfg.Creds != "":
		return "the credentials of nats.creds"
	case cfg.NKey != "":
		return "the credentials of nats.nkey"
	case cfg.Token != "":
		return "the credentials of nats.token"
	}
	for one := range strings.SplitSeq(cfg.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err != nil || u.User != nil || u.Host == "" && strings.Contains(one, "@") {
			return "the credentials of nats.url (its user and password)"
		}
	}
	if cfg.TLS.Cert != "" {
		return "the credentials of nats.tls.cert"
	}
	return "a connection without credentials (set nats.creds, nats.nkey, nats.token, or user and password in nats.url)"
}

// explain returns why an attempt to connect failed, as something that an operator can mend. known is false for everything
// that NATS itself did not send.
func (b *Bus) explain(err error) (what string, known bool) {
	text := strings.ToLower(err.Error())
	has := func(part string) bool { return strings.Contains(text, part) }
	var untrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	switch {
	case has("account authentication expired"):
		return "NATS refused " + b.identity + ": its account has expired", true
	case has("authentication expired"):
		return "NATS refused " + b.identity + ": the user has expired", true
	case has("authentication revoked"):
		return "NATS refused " + b.identity + ": the user is revoked", true
	case has("authorization violation"):
		return "NATS refused " + b.identity, true
	case has("maximum account active connections exceeded"):
		return "NATS refused the connection: the account has as many as it may (see max_connections of the account)", true
	case has("maximum connections exceeded"):
		return "NATS refused the connection: the server has as many as it may (see max_connections of the NATS server)", true
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "nats.url or nats.tls wants TLS, and the NATS server has none", true
	case errors.Is(err, nats.ErrSecureConnRequired), has("secure connection"):
		return "the NATS server requires TLS (see nats.tls, and tls:// in nats.url)", true
	case errors.As(err, &untrusted), errors.As(err, &authority), errors.As(err, &host):
		return "the certificate of the NATS server is not trusted (see nats.tls.ca, and the host in nats.url)", true
	case errors.As(err, &alert), has("remote error: tls"):
		return "the NATS server broke off the TLS handshake (it may want a client certificate: see nats.tls.cert and nats.tls.key)", true
	case errors.As(err, &header), has("tls: "):
		return "the TLS handshake with the NATS server failed (see nats.url and nats.tls)", true
	}
	return unreachable, false
}

// connectFailed logs why there is no connection, once a minute for each cause, and keeps it for Ready.
func (b *Bus) connectFailed(err error) {
	what, known := b.explain(err)
	if words := b.state.words.Load(); !known && words != nil {
		err = errors.New("nats: " + *words)
		what, known = b.explain(err)
	}
	if known {
		b.state.trouble.Store(&what)
	}
	b.complaints.Log(slog.LevelWarn, what, "", "", "url", b.url, "error", b.shown(err))
}

// hear keeps an error that NATS sends before the connection stands. The link shows it what is read.
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

// watch looks why there is no connection, until the bus is closed.
func (b *Bus) watch() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-b.state.closed:
			return
		case <-ticker.C:
		}
		if b.state.online.Load() {
			continue
		}
		if err := b.nc.LastError(); err != nil {
			if _, known := b.explain(err); (known || b.state.words.Load() != nil) && !b.state.online.Load() {
				b.connectFailed(err)
			}
		}
	}
}

// offline is what Ready says while there is no connection.
func (b *Bus) offline() string {
	const offline = "not connected to NATS"
	if what := b.state.trouble.Load(); what != nil {
		return offline + ": " + *what
	}
	return offline
}
