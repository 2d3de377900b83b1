package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"partyline/bus"
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
	want := bus.DefaultConfig()
	want.Creds, want.TLS = creds, bus.TLS{CA: certificate, Cert: certificate, Key: key}
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
