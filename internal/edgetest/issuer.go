package edgetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Claims are the claims of a token, or its header.
type Claims map[string]any

// TokenKey signs tokens. It signs whatever it is given: tests also need wrong ones.
type TokenKey struct {
	Alg, ID string // ID is the kid in the header; "" for none
	Secret  []byte // of HS256
	Private crypto.Signer
	T       testing.TB
}

// HMACKey makes a secret for HS256.
func HMACKey(t testing.TB) *TokenKey {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return &TokenKey{Alg: "HS256", Secret: []byte(base64.StdEncoding.EncodeToString(secret)), T: t}
}

// ECKey makes a key for ES256.
func ECKey(t testing.TB, id string) *TokenKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &TokenKey{Alg: "ES256", ID: id, Private: key, T: t}
}

// RSAKey makes a key for RS256.
func RSAKey(t testing.TB, id string) *TokenKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &TokenKey{Alg: "RS256", ID: id, Private: key, T: t}
}

// SecretFile writes the secret into a file.
func (k *TokenKey) SecretFile() string {
	k.T.Helper()
	return k.write("secret", append(k.Secret[:len(k.Secret):len(k.Secret)], '\n'))
}

// PublicPEM is the public key.
func (k *TokenKey) PublicPEM() []byte {
	k.T.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		k.T.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PublicFile writes the public key into a file.
func (k *TokenKey) PublicFile() string {
	k.T.Helper()
	return k.write("public.pem", k.PublicPEM())
}

func (k *TokenKey) write(name string, data []byte) string {
	k.T.Helper()
	file := filepath.Join(k.T.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		k.T.Fatal(err)
	}
	return file
}

// Sign makes a token of these claims. Members of header are added to its header, or replace it.
func (k *TokenKey) Sign(claims, header Claims) string {
	head := Claims{"typ": "JWT", "alg": k.Alg}
	if k.ID != "" {
		head["kid"] = k.ID
	}
	maps.Copy(head, header)
	text := TokenPart(head) + "." + TokenPart(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(k.signature(text))
}

// TokenPart encodes the claims or the header of a token.
func TokenPart(of Claims) string {
	text, _ := json.Marshal(of)
	return base64.RawURLEncoding.EncodeToString(text)
}

func (k *TokenKey) signature(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	switch private := k.Private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			k.T.Error(err)
			return nil
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
		if err != nil {
			k.T.Error(err)
		}
		return signature
	}
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// jwk is the public key in a set.
func (k *TokenKey) jwk() Claims {
	encode := base64.RawURLEncoding.EncodeToString
	switch public := k.Private.Public().(type) {
	case *ecdsa.PublicKey:
		return Claims{"kty": "EC", "crv": "P-256", "use": "sig", "alg": k.Alg, "kid": k.ID,
			"x": encode(public.X.FillBytes(make([]byte, 32))), "y": encode(public.Y.FillBytes(make([]byte, 32)))}
	case *rsa.PublicKey:
		return Claims{"kty": "RSA", "use": "sig", "alg": k.Alg, "kid": k.ID, "n": encode(public.N.Bytes()), "e": "AQAB"}
	}
	panic("a secret has no public key")
}

// The issuer and the audience of Subject.
const (
	TokenIssuer   = "https://id.example"
	TokenAudience = "partyline"
)

// Subject returns the claims of a token for a user that is good for some time. more are added or replace them; nil
// takes one out.
func Subject(user string, lasts time.Duration, more Claims) Claims {
	now := time.Now()
	claims := Claims{"iss": TokenIssuer, "aud": TokenAudience, "sub": user, "iat": now.Unix(), "exp": now.Add(lasts).Unix()}
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, value any) bool {
		grant, is := value.(Claims)
		return value == nil || is && grant == nil
	})
	return claims
}

// KeyServer serves a set of keys over HTTP on loopback, which can be away and change.
type KeyServer struct {
	URL     string
	Fetches atomic.Int64 // how often the set was requested, also while it was away
	mu      sync.Mutex
	keys    []*TokenKey // guarded by mu
	away    bool        // guarded by mu
}

// NewKeyServer starts a server until the test ends.
func NewKeyServer(t testing.TB, keys ...*TokenKey) *KeyServer {
	t.Helper()
	s := &KeyServer{keys: keys}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/jwks.json"
	return s
}

// Set replaces the keys, and makes the server come back if it was away.
func (s *KeyServer) Set(keys ...*TokenKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.away = keys, false
}

// Leave makes the server answer with an error until Set.
func (s *KeyServer) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
}

// ServeHTTP answers with the keys.
func (s *KeyServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.Fetches.Add(1)
	s.mu.Lock()
	keys, away := s.keys, s.away
	s.mu.Unlock()
	if away {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	set := make([]Claims, len(keys))
	for i, k := range keys {
		set[i] = k.jwk()
	}
	text, _ := json.Marshal(map[string]any{"keys": set})
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "%s", text)
}
