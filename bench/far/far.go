// Package far is the way to a server that is far away: TLS, and a round trip of RoundTrip. The load generator has
// neither, so this program stands between: it takes plain connections, and makes one with TLS for each.
package far

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// RoundTrip is how long data take to the server and back. TCP's own handshake is not delayed.
const RoundTrip = 20 * time.Millisecond

// Main takes connections to a server, host:port, whose certificate is in a file, until the process is killed.
func Main(server, certificate string) error {
	text, err := os.ReadFile(certificate)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s has no certificate", certificate)
	}
	slow, err := delay(server)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := fmt.Fprintf(os.Stderr, `{"msg":"listening","address":%q}`+"\n", listener.Addr()); err != nil {
		return fmt.Errorf("say that it is ready: %w", err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go join(conn, slow, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	}
}

// delay runs a proxy in front of a server that delays what passes by half of RoundTrip. It returns its address.
func delay(server string) (string, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	host := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(host, "far", "127.0.0.1:0", server)
	if err := p.Start(); err != nil {
		return "", err
	}
	for _, way := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type":"latency","stream":%q,"attributes":{"latency":%d}}`, way, RoundTrip.Milliseconds()/2)
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return "", err
		}
	}
	return p.Listen, nil
}

// join connects a plain connection with one to the server.
func join(plain net.Conn, server string, config *tls.Config) {
	secure, err := tls.Dial("tcp", server, config)
	if err != nil {
		_ = plain.Close() // the generator reports it
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{plain, secure}, {secure, plain}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either end may close
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// WriteCertificate makes a certificate for localhost that signs itself, and writes it and its key as PEM files.
func WriteCertificate(certificate, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}
