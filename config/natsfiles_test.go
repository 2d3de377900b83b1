package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"partyline/internal/natsconn"
)

// pemFiles writes a certificate and its key into a folder of the test.
func pemFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return file("cert.pem", "CERTIFICATE", signed), file("key.pem", "PRIVATE KEY", encoded)
}

func TestFilesOfNATS(t *testing.T) {
	certificate, key := pemFiles(t)
	creds := write(t, "anything")
	c := mustLoad(t, FlavourEdge, []string{"--nats.creds", creds, "--nats.tls.ca", certificate},
		[]string{"PARTYLINE_NATS_TLS_CERT=" + certificate, "PARTYLINE_NATS_TLS_KEY=" + key}).Config
	want := natsconn.DefaultConfig()
	want.Creds, want.TLS = creds, natsconn.TLS{CA: certificate, Cert: certificate, Key: key}
	if !reflect.DeepEqual(c.NATS, want) {
		t.Errorf("got %+v, want %+v", c.NATS, want)
	}
	if c := mustLoad(t, FlavourEdge, []string{"--nats.nkey", creds}, nil).Config; c.NATS.NKey != creds {
		t.Errorf("nkey %q", c.NATS.NKey)
	}
}

// With TLS, other edges need a listener of their own.
func TestFilesOfTLS(t *testing.T) {
	certificate, key := pemFiles(t)
	files := []string{"--tls.cert", certificate, "--tls.key", key}
	c := mustLoad(t, FlavourEdge, files, nil).Config
	if want := (TLS{certificate, key}); c.TLS != want {
		t.Errorf("got %+v, want %+v", c.TLS, want)
	}
	files = append(files, "--advertise=http://10.0.0.7:3001", "--edges.secret=s")
	if _, err := Load(FlavourEdge, files, nil); err == nil || !strings.Contains(err.Error(), "--advertise: needs edges.listen with tls.cert") {
		t.Errorf("advertise without edges.listen: %v", err)
	}
	if c := mustLoad(t, FlavourEdge, append(files, "--edges.listen=10.0.0.7:3001"), nil).Config; c.Edges.Listen != "10.0.0.7:3001" {
		t.Errorf("got %+v", c.Edges)
	}
}

func init() { maps.Copy(badConfigurations, badConnections) }

// badConnections are those of how clients and other edges connect.
var badConnections = map[string]bad{
	"half a pair of clients": {file: "tls: {cert: FILE}\n", want: []string{"FILE:1: tls.cert: needs tls.key, the file of its private key"}},
	"other half of clients": {args: []string{"--tls.key=/nowhere/key"}, want: []string{
		"--tls.key: the file cannot be read: open /nowhere/key: no such file", "--tls.key: needs tls.cert, the file of its certificate",
	}},
	"no pair of clients": {file: "tls: {key: FILE, cert: FILE}\n", want: []string{`FILE:1: tls.cert: "FILE" and "FILE" are no pair of certificate and key`}},
	"connections": {args: []string{"--limits.connections=-1", "--limits.connections_per_address=-1", "--edges.listen=x"}, want: []string{
		`--edges.listen: "x" is not an address to listen on`, "--limits.connections: -1 is negative", "--limits.connections_per_address: -1 is negative",
	}},
	"edges.listen of clients": {args: []string{"--edges.listen=:3000"}, want: []string{`--edges.listen: ":3000" is the same port as listen (:3000)`}},
}
