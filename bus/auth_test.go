package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"partyline/internal/natsconn"
	"partyline/internal/natsd/natsdtest"
)

// tryAuth connects with a configuration that must be accepted, and without it, which must be refused.
func tryAuth(t *testing.T, url string, cfg natsconn.Config) {
	t.Helper()
	cfg.URL = url
	b, err := Connect(cfg, slog.New(slog.DiscardHandler), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(t.Context()) })
	eventually(t, "the bus is ready", func() bool { return len(b.Ready()) == 0 })

	stranger, err := Connect(natsconn.Config{URL: url, TLS: natsconn.TLS{CA: cfg.TLS.CA}}, slog.New(slog.DiscardHandler), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stranger.Close(t.Context()) })
	eventually(t, "the server has refused the stranger", func() bool { return stranger.nc.LastError() != nil })
	if len(stranger.Ready()) == 0 {
		t.Error("the server accepts a client without credentials")
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keyPair(t *testing.T, make func() (nkeys.KeyPair, error)) (pair nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	pair, err := make()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return pair, public, seed
}

func TestToken(t *testing.T) {
	server := natsdtest.Start(t, `authorization { token: "s3cret" }`)
	tryAuth(t, server.ClientURL(), natsconn.Config{Token: "s3cret"})
}

func TestNKey(t *testing.T) {
	_, public, seed := keyPair(t, nkeys.CreateUser)
	server := natsdtest.Start(t, fmt.Sprintf(`authorization { users: [ {nkey: %s} ] }`, public))
	tryAuth(t, server.ClientURL(), natsconn.Config{NKey: write(t, "edge.nk", seed)})
}

func TestCredentialsFile(t *testing.T) {
	operator, operatorKey, _ := keyPair(t, nkeys.CreateOperator)
	account, accountKey, _ := keyPair(t, nkeys.CreateAccount)
	_, userKey, userSeed := keyPair(t, nkeys.CreateUser)
	sign := func(claims interface {
		Encode(nkeys.KeyPair) (string, error)
	}, by nkeys.KeyPair) string {
		token, err := claims.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	operatorToken := sign(jwt.NewOperatorClaims(operatorKey), operator)
	accountToken := sign(jwt.NewAccountClaims(accountKey), operator)
	userToken := sign(jwt.NewUserClaims(userKey), account)
	creds, err := jwt.FormatUserConfig(userToken, userSeed)
	if err != nil {
		t.Fatal(err)
	}
	server := natsdtest.Start(t, fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload { %s: %s }", operatorToken, accountKey, accountToken))
	tryAuth(t, server.ClientURL(), natsconn.Config{Creds: write(t, "edge.creds", creds)})
}

// certificate writes a certificate for 127.0.0.1 and its key, signed by parent or by itself.
func certificate(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (cert *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile = write(t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyFile = write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	return cert, key, certFile, keyFile
}

func TestTLSWithClientCertificate(t *testing.T) {
	ca, caKey, caFile, _ := certificate(t, "ca", nil, nil)
	_, _, serverCert, serverKey := certificate(t, "server", ca, caKey)
	_, _, edgeCert, edgeKey := certificate(t, "edge", ca, caKey)
	server := natsdtest.Start(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", serverCert, serverKey, caFile))
	url := strings.Replace(server.ClientURL(), "nats://", "tls://", 1)
	tryAuth(t, url, natsconn.Config{TLS: natsconn.TLS{CA: caFile, Cert: edgeCert, Key: edgeKey}})
}

func TestUnreadableFilesAreErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, cfg := range map[string]natsconn.Config{
		"creds": {Creds: missing}, "nkey": {NKey: missing}, "ca": {TLS: natsconn.TLS{CA: missing}}, "cert": {TLS: natsconn.TLS{Cert: missing, Key: missing}},
	} {
		cfg.URL = "nats://127.0.0.1:1"
		b, err := Connect(cfg, slog.New(slog.DiscardHandler), Options{})
		if err == nil {
			b.Close(t.Context())
			t.Errorf("%s: a missing file is no error", name)
			continue
		}
		if !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
}
