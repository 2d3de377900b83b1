// Package verify makes the tokens of the scenario tokens, and measures what a bare verification of one costs:
// golang-jwt alone, in a process of its own.
package verify

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"partyline/bench/process"
)

// What Config declares, and tokens have.
const (
	issuer   = "https://id.bench"
	audience = "bench"
	alg      = "RS256"
)

// Tokens are good tokens of users of their own, and the public key for them.
type Tokens struct {
	Public string // PEM
	All    []string
}

// New makes tokens that are good for the length of a benchmark.
func New(count int) (*Tokens, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("a key for tokens: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("a key for tokens: %w", err)
	}
	t := &Tokens{Public: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
	for i := range count {
		now := time.Now()
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
			"iss": issuer, "aud": audience, "sub": "user-" + strconv.Itoa(i), "iat": now.Unix(), "exp": now.Add(59 * time.Minute).Unix(),
		}).SignedString(key)
		if err != nil {
			return nil, fmt.Errorf("sign a token: %w", err)
		}
		t.All = append(t.All, token)
	}
	return t, nil
}

// Config is the configuration of edges that admit these tokens to /bench. file has the public key.
func Config(file string) string {
	return fmt.Sprintf(`tokens:
  - {name: bench, issuer: %q, audience: %q, public_key_file: %q, algorithms: [%s]}
namespaces:
  "/bench": {connect: token, tokens: [bench], rooms: ["*"]}
`, issuer, audience, file, alg)
}

// Measure verifies each token some times in a new process, which self is to be, and returns the CPU in µs of one.
func (t *Tokens) Measure(self string, times int) (float64, error) {
	command := exec.Command(self, "verify", strconv.Itoa(times))
	command.Stderr = os.Stderr
	in, err := json.Marshal(t)
	if err != nil {
		return 0, fmt.Errorf("tokens: %w", err)
	}
	command.Stdin = bytes.NewReader(in)
	out, err := command.Output()
	if err != nil {
		return 0, fmt.Errorf("verify tokens: %w", err)
	}
	var us float64
	if err := json.Unmarshal(out, &us); err != nil {
		return 0, fmt.Errorf("verify tokens: %w", err)
	}
	return us, nil
}

// Main is the process of Measure. The first tenth is for warming up.
func Main(times string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return fmt.Errorf("how often to verify: %w", err)
	}
	var t Tokens
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	key, err := jwt.ParseRSAPublicKeyFromPEM([]byte(t.Public))
	if err != nil {
		return fmt.Errorf("the public key: %w", err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	verify := func(rounds int) error {
		for range rounds {
			for _, token := range t.All {
				if _, err := parser.Parse(token, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
					return fmt.Errorf("a token is refused: %w", err)
				}
			}
		}
		return nil
	}
	if err := verify(max(1, n/10)); err != nil {
		return err
	}
	before, err := process.CPU(os.Getpid())
	if err != nil {
		return err
	}
	if err := verify(n); err != nil {
		return err
	}
	after, err := process.CPU(os.Getpid())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode((after - before) * 1e6 / float64(n*len(t.All)))
}
