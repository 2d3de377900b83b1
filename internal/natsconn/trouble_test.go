package natsconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nats.ErrAuthorization, "NATS refused the credentials of nats.creds"},
		{errors.New("nats: Authorization Violation"), "NATS refused the credentials of nats.creds"},
		{errors.New("nats: User Authentication Expired"), "the user has expired"},
		{nats.ErrAuthExpired, "the user has expired"},
		{nats.ErrAuthRevoked, "the user is revoked"},
		{errors.New("nats: Account Authentication Expired"), "its account has expired"},
		{nats.ErrMaxConnectionsExceeded, "max_connections of the NATS server"},
		{errors.New("nats: maximum connections exceeded"), "max_connections of the NATS server"},
		{nats.ErrMaxAccountConnectionsExceeded, "max_connections of the account"},
		{nats.ErrSecureConnRequired, "requires TLS"},
		{fmt.Errorf("x: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "nats.tls.ca"},
		{errors.New("remote error: tls: certificate required"), "nats.tls.cert"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "TLS handshake"},
	} {
		if what, known := Explain(c.err, "the credentials of nats.creds"); !known || !strings.Contains(what, c.want) {
			t.Errorf("%v: %q, want %q", c.err, what, c.want)
		}
	}
	if what, known := Explain(errors.New("dial tcp 127.0.0.1:4: connect: connection refused"), ""); known || what != Unreachable {
		t.Errorf("%q", what)
	}
}

func TestIdentity(t *testing.T) {
	for want, cfg := range map[string]Config{
		"nats.creds": {Creds: "x"}, "nats.nkey": {NKey: "x"}, "nats.token": {Token: "x"}, "nats.tls.cert": {URL: "nats://a:1", TLS: TLS{Cert: "x"}},
		"nats.url": {URL: "nats://a:1, nats://u:p@b:2"}, "without credentials": {URL: "nats://a:1,nats://b:2"},
	} {
		if got := cfg.Identity(); !strings.Contains(got, want) {
			t.Errorf("%+v: %s, want %s", cfg, got, want)
		}
	}
	if got := (Config{URL: "u:p@127.0.0.1:4"}).Identity(); !strings.Contains(got, "nats.url") || strings.Contains(got, "u:p") {
		t.Error(got)
	}
}
