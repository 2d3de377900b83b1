package token

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Issuer is who makes tokens, and how they are verified. The keys come from exactly one of JWKSURL, JWKSFile,
// PublicKeyFile and HMACSecretFile.
type Issuer struct {
	Name     string `yaml:"name"`     // how namespaces and metrics call it
	Issuer   string `yaml:"issuer"`   // the claim iss of its tokens
	Audience string `yaml:"audience"` // must be among the claim aud of a token

	JWKSURL        string `yaml:"jwks_url,omitempty"`         // https; http to loopback only
	JWKSFile       string `yaml:"jwks_file,omitempty"`        // a JWK Set
	PublicKeyFile  string `yaml:"public_key_file,omitempty"`  // PEM (a public key or a certificate), or one JWK
	HMACSecretFile string `yaml:"hmac_secret_file,omitempty"` // at least as long as the hashes; one line end at its end does not count

	Algorithms  []string      `yaml:"algorithms,flow"` // of tokens, such as RS256
	Claim       string        `yaml:"claim"`           // the claim whose value is the grant
	Leeway      time.Duration `yaml:"leeway"`          // how much the clocks of issuer and edge may differ, at most MaxLeeway
	MaxLifetime time.Duration `yaml:"max_lifetime"`    // from iat to exp
}

// Limits of the times of an Issuer.
const (
	MaxLeeway      = time.Minute
	mostLifetime   = 365 * 24 * time.Hour
	leastSecret    = 32 // bytes
	mostNameLength = 64
)

// Default returns an Issuer with the defaults, and without what has none.
func Default() Issuer {
	return Issuer{Claim: "partyline", Leeway: 5 * time.Second, MaxLifetime: time.Hour}
}

// algorithms are those that an issuer may have, and how long an HMAC secret must be, in bytes (RFC 7518, section 3.2).
var algorithms = map[string]int{
	"RS256": 0, "RS384": 0, "RS512": 0, "PS256": 0, "PS384": 0, "PS512": 0, "ES256": 0, "ES384": 0, "ES512": 0, "EdDSA": 0,
	"HS256": leastSecret, "HS384": 48, "HS512": 64,
}

const knownAlgorithms = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, or HS256, HS384, HS512 with hmac_secret_file"

// registered are the claims that have a meaning of their own (RFC 7519, section 4.1).
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// Fault is one thing that is wrong with an Issuer.
type Fault struct {
	Key     string // such as "jwks_url"; "" for the whole
	Problem string // what is wrong and what to do; never a secret, a URL or a path
}

var issuerName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// Faults returns all that is wrong with an issuer. It reads the file of its keys, if there is one.
func (i Issuer) Faults() (faults []Fault) {
	bad := func(key, format string, args ...any) {
		faults = append(faults, Fault{key, fmt.Sprintf(format, args...)})
	}
	if !issuerName.MatchString(i.Name) || len(i.Name) > mostNameLength {
		bad("name", "must be at most %d letters, digits and ._- by which namespaces name it, such as main", mostNameLength)
	}
	if i.Issuer == "" {
		bad("issuer", "is missing; write the claim iss of the tokens, such as https://id.example")
	}
	if i.Audience == "" {
		bad("audience", "is missing; write what the claim aud of the tokens must hold, such as partyline: without it, "+
			"a token that the issuer made for another service would open this one")
	}
	if i.Claim == "" || slices.Contains(registered, i.Claim) {
		bad("claim", "must name the claim that has the grant, such as partyline, and none that has a meaning of its own")
	}
	if i.Leeway < 0 || i.Leeway > MaxLeeway {
		bad("leeway", "%s is not between 0s and %s; write how much the clocks may differ, such as 5s", i.Leeway, MaxLeeway)
	}
	if i.MaxLifetime < time.Second || i.MaxLifetime > mostLifetime {
		bad("max_lifetime", "%s is not between 1s and %s; write how long a stolen token may be of use, such as 1h", i.MaxLifetime, mostLifetime)
	}
	i.algorithmFaults(bad)
	i.sourceFaults(bad)
	if len(faults) == 0 && i.JWKSURL == "" {
		key, file := i.file()
		if _, err := i.readFile(file); err != nil {
			bad(key, "%v", err)
		}
	}
	return faults
}

// algorithmFaults checks Algorithms. HMAC beside another algorithm would let a client sign with the public key.
func (i Issuer) algorithmFaults(bad func(key, format string, args ...any)) {
	if len(i.Algorithms) == 0 {
		bad("algorithms", "is missing; write those of the issuer's tokens: %s", knownAlgorithms)
	}
	for n, name := range i.Algorithms {
		secret, known := algorithms[name]
		switch {
		case strings.EqualFold(name, "none"):
			bad("algorithms", "none would accept unsigned tokens; write %s", knownAlgorithms)
		case !known:
			bad("algorithms", "item %d is unknown; write %s", n+1, knownAlgorithms)
		case slices.Contains(i.Algorithms[:n], name):
			bad("algorithms", "%s is listed twice; remove one", name)
		case secret > 0 && i.HMACSecretFile == "":
			bad("algorithms", "%s needs hmac_secret_file, and cannot stand beside public keys: a client could sign with them; "+
				"remove it, or make an entry of its own", name)
		case secret == 0 && i.HMACSecretFile != "":
			bad("algorithms", "%s has public keys, and cannot stand beside hmac_secret_file; remove it, or make an entry of its own", name)
		}
	}
}

// sourceFaults checks where the keys come from.
func (i Issuer) sourceFaults(bad func(key, format string, args ...any)) {
	const all = "jwks_url, jwks_file, public_key_file or hmac_secret_file"
	n := 0
	for _, source := range []string{i.JWKSURL, i.JWKSFile, i.PublicKeyFile, i.HMACSecretFile} {
		if source != "" {
			n++
		}
	}
	switch {
	case n == 0:
		bad("", "has no keys; write one of %s", all)
	case n > 1:
		bad("", "has %d sources of keys; keep one of %s", n, all)
	}
	if i.JWKSURL == "" {
		return
	}
	u, err := url.Parse(i.JWKSURL)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		bad("jwks_url", "is not a URL; write it such as https://id.example/.well-known/jwks.json")
	case u.User != nil:
		bad("jwks_url", "has a user or a password in it; the keys are public: remove it")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		bad("jwks_url", "must begin with https://: who can change an answer of http:// could sign tokens (only loopback may do without)")
	}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

// file returns the key and the value of the file that has the keys; "" if there is none.
func (i Issuer) file() (key, path string) {
	switch {
	case i.JWKSFile != "":
		return "jwks_file", i.JWKSFile
	case i.PublicKeyFile != "":
		return "public_key_file", i.PublicKeyFile
	}
	return "hmac_secret_file", i.HMACSecretFile
}

// readFile reads the keys from the issuer's file. The error does not repeat the path, which may be a secret in the
// wrong place.
func (i Issuer) readFile(path string) (keySet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	set, err := i.parse(data)
	if err == nil && len(set) == 0 {
		err = errors.New("the file has no key that fits the algorithms; look at both")
	}
	return set, err
}
