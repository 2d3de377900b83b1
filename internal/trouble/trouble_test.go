package trouble

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
