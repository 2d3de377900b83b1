package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// lookEvery is how often the bus checks why it is not connected: nats.go does not report that NATS refused a first connection.
const lookEvery = 500 * time.Millisecond

// unreachable is the log line if the cause is unknown.
const unreachable = "cannot reach NATS, trying again until it answers (see nats.url)"

// identity returns, for the log, the kind of credentials of a configuration. It names keys and no values.
func identity(cfg Config) string {
	switch {
	case cfg.Creds != "":
		return "the credentials of nats.creds"
	case cfg.NKey != "":
		return "the credentials of nats.nkey"
	case cfg.Token != "":
		return "the credentials of nats.token"
	case strings.Contains(cfg.URL, "@"):
		return "the credentials of nats.url (its user and password)"
	case cfg.TLS.Cert != "":
		return "the credentials of nats.tls.cert"
	}
	return "a connection without credentials (set nats.creds, nats.nkey, nats.token, or user and password in nats.url)"
}

// causes are texts of errors, in lower case, and what they mean to an operator; %s stands for the kind of credentials. The first
// match applies.
var causes = []struct{ text, meaning string }{
	{"account authentication expired", "NATS refused %s: its account has expired"},
	{"authentication expired", "NATS refused %s: the user has expired"},
	{"authentication revoked", "NATS refused %s: the user is revoked"},
	{"authorization violation", "NATS refused %s"},
	{"maximum account active connections exceeded",
		"NATS refused the connection: the account has as many as it may (see max_connections of the account)"},
	{"maximum connections exceeded",
		"NATS refused the connection: the server has as many as it may (see max_connections of the NATS server)"},
	{"secure connection not available", "nats.url or nats.tls wants TLS, and the NATS server has none"},
	{"secure connection", "the NATS server requires TLS (see nats.tls, and tls:// in nats.url)"},
	{"failed to verify certificate", "the certificate of the NATS server is not trusted (see nats.tls.ca, and the host in nats.url)"},
	{"remote error: tls",
		"the NATS server broke off the TLS handshake (it may want a client certificate: see nats.tls.cert and nats.tls.key)"},
	{"tls: ", "the TLS handshake with the NATS server failed (see nats.url and nats.tls)"},
}

// explain returns why an attempt to connect failed, in words that help an operator. known is false for an error that does
// not come from NATS or TLS.
func (b *Bus) explain(err error) (what string, known bool) {
	text := strings.ToLower(err.Error())
	for _, cause := range causes {
		if strings.Contains(text, cause.text) {
			return strings.ReplaceAll(cause.meaning, "%s", b.identity), true
		}
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
			if _, known := b.explain(err); known || b.state.words.Load() != nil {
				b.connectFailed(err)
			}
		}
	}
}
