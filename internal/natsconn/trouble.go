package natsconn

import "strings"

// Unreachable is the log line if the cause is unknown.
const Unreachable = "cannot reach NATS, trying again until it answers (see nats.url)"

// causes are texts of errors, in lower case, and what they mean to an operator; %s stands for the kind of credentials.
// The first match applies.
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

// Explain returns why an attempt to connect failed. credentials are what it was made with, in words. known is false
// for an error that does not come from NATS or TLS; then the text is Unreachable.
func Explain(err error, credentials string) (what string, known bool) {
	text := strings.ToLower(err.Error())
	for _, cause := range causes {
		if strings.Contains(text, cause.text) {
			return strings.ReplaceAll(cause.meaning, "%s", credentials), true
		}
	}
	return Unreachable, false
}
