package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys of tests.
var (
	rsaKey, otherRSA = newRSA(2048), newRSA(2048)
	p256Key          = newEC(elliptic.P256())
	p384Key          = newEC(elliptic.P384())
	edKey            = func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k }()
)

const secret = "a secret of thirty-two bytes, or more"

func newRSA(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// issuer returns one named main, with one of the sources.
func issuer(change func(*Issuer)) Issuer {
	i := Default()
	i.Name, i.Issuer, i.Audience, i.Algorithms = "main", "https://id.example", "partyline", []string{"RS256"}
	change(&i)
	return i
}

// write makes a file.
func write(t testing.TB, data string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jwk returns the public part of a key. change may be nil.
func jwk(kid string, private crypto.Signer, change func(m map[string]any)) map[string]any {
	k, err := jwkset.NewJWKFromKey(private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		panic(err)
	}
	text, _ := json.Marshal(k.Marshal())
	m := map[string]any{}
	_ = json.Unmarshal(text, &m)
	if change != nil {
		change(m)
	}
	return m
}

// jwks returns a JWK Set.
func jwks(keys ...any) string {
	text, err := json.Marshal(map[string]any{"keys": append([]any{}, keys...)})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// open opens a Keyring, and closes it at the end of the test.
func open(t testing.TB, o Options, issuers ...Issuer) *Keyring {
	t.Helper()
	k, err := Open(issuers, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// good returns the claims of a good token.
func good() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{"iss": "https://id.example", "aud": "partyline", "sub": "ann", "iat": now, "exp": now + 600}
}

// signed returns a token. change may be nil.
func signed(alg string, key any, kid string, change func(c jwt.MapClaims, header map[string]any)) string {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), good())
	if kid != "" {
		t.Header["kid"] = kid
	}
	if change != nil {
		change(t.Claims.(jwt.MapClaims), t.Header)
	}
	text, err := t.SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

// server is a server of keys on a network in memory, so that it can run on fake time.
type server struct {
	url   string
	conns chan net.Conn

	mu     sync.Mutex
	away   bool                                         // connections are refused
	answer func(w http.ResponseWriter, r *http.Request) // nil: status 404
	begun  []time.Time                                  // of requests
}

// serve starts a server. It ends with the test or bubble.
func serve(t *testing.T) *server {
	s := &server{url: "http://localhost/keys", conns: make(chan net.Conn)}
	h := &http.Server{Handler: s}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Serve(s)
	}()
	t.Cleanup(func() {
		close(s.conns)
		_ = h.Close()
		<-done
	})
	return s
}

func (s *server) Accept() (net.Conn, error) {
	if c, ok := <-s.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (s *server) Close() error   { return nil }
func (s *server) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// transport connects to the server as the real one would.
func (s *server) transport() http.RoundTripper {
	real := newClient(nil).Transport.(*http.Transport)
	real.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		s.mu.Lock()
		away := s.away
		s.mu.Unlock()
		if away {
			return nil, errors.New("connection refused")
		}
		ours, theirs := net.Pipe()
		select {
		case s.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return real
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.begun = append(s.begun, time.Now())
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

// set changes what the server does.
func (s *server) set(away bool, answer func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.answer = away, answer
}

// requests returns when they began.
func (s *server) requests() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun)
}

// answer returns what a server answers.
func answer(text string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// count returns a metric: name, then the values of its labels.
func count(t *testing.T, k *Keyring, name string) int {
	t.Helper()
	for _, m := range k.Metrics().Metrics() {
		if strings.TrimSpace(m.Name+" "+m.Value()) == name {
			return int(m.Read())
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// eventually waits for a condition on a real network.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		runtime.Gosched()
	}
}
