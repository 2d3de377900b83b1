package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

const (
	// maxKeys is how many keys an issuer may have.
	maxKeys = 100
	// maxTried is with how many keys a token is verified that names none: each costs as much as a good token.
	maxTried = 4
	// The sizes of RSA keys, in bits (RFC 7518, section 3.3). Verifying with larger ones takes too long.
	leastRSA, mostRSA = 2048, 8192
)

// key verifies signatures.
type key struct {
	id  string // kid; "" if it has none: then it is for tokens with any kid
	alg string // the only algorithm it is for; "" for all that it fits
	key any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte for HMAC
}

// keySet are the keys of an issuer, which fit its algorithms. It is static.
type keySet []key

// find returns the keys that a token may be signed with, at most maxTried. named reports whether one has the kid of
// the token, or the token has none.
func (s keySet) find(kid, alg string) (found []any, named bool) {
	named = kid == ""
	for _, k := range s {
		if kid != "" && k.id != "" && k.id != kid || k.alg != "" && k.alg != alg || !fits(k.key, alg) {
			continue
		}
		named = named || k.id == kid
		if found = append(found, k.key); len(found) == maxTried {
			break
		}
	}
	return found, named
}

var curves = map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

// fits reports whether a key is of the type that an algorithm needs.
func fits(public any, alg string) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		return (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")) && bits >= leastRSA && bits <= mostRSA
	case *ecdsa.PublicKey:
		return curves[alg] == k.Params().Name
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case []byte:
		least := algorithms[alg]
		return least > 0 && len(k) >= least
	}
	return false
}

// parse reads the keys of an issuer. Keys that none of its algorithms can use are left out.
func (i Issuer) parse(data []byte) (set keySet, err error) {
	switch {
	case i.HMACSecretFile != "":
		set, err = i.parseSecret(data)
	case i.PublicKeyFile != "":
		set, err = parsePublic(data)
	default:
		set, err = parseJWKS(data)
	}
	return slices.DeleteFunc(set, func(k key) bool {
		return !slices.ContainsFunc(i.Algorithms, func(alg string) bool {
			return (k.alg == "" || k.alg == alg) && fits(k.key, alg)
		})
	}), err
}

func (i Issuer) parseSecret(data []byte) (keySet, error) {
	secret, hasLineEnd := bytes.CutSuffix(data, []byte("\n"))
	if hasLineEnd {
		secret = bytes.TrimSuffix(secret, []byte("\r"))
	}
	least := leastSecret
	for _, alg := range i.Algorithms {
		least = max(least, algorithms[alg])
	}
	if len(secret) < least {
		return nil, fmt.Errorf("the secret is shorter than %d bytes, so that it could be guessed; make one with `openssl rand -hex 32`", least)
	}
	return keySet{{key: secret}}, nil
}

// parsePublic reads one public key, which is for all tokens whatever their kid.
func parsePublic(data []byte) (keySet, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		k, err := parseJWK(data)
		if err != nil {
			return nil, fmt.Errorf("the file has no public key as a JWK: %w", err)
		}
		k.id = ""
		return keySet{k}, nil
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("the file has no public key; write one in PEM form (a public key or a certificate), or a JWK")
	}
	if strings.Contains(block.Type, "PRIVATE KEY") {
		return nil, errors.New("the file has a private key, which only the issuer should have; write the public one")
	}
	var public any
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("the file has no good public key: %w", err)
	}
	return keySet{{key: public}}, nil
}

// parseJWKS reads a JWK Set (RFC 7517, section 5). Keys that are not good are left out: the issuer may have others
// that are not for signatures. An empty set is good, too: the issuer has taken back all keys.
func parseJWKS(data []byte) (set keySet, err error) {
	var members map[string]json.RawMessage // a struct would take "KEYS", too
	var list []json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, errors.New("the JWK Set is not a JSON object")
	}
	if err := json.Unmarshal(members["keys"], &list); err != nil || list == nil {
		return nil, errors.New(`the JWK Set has no array "keys"`)
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("the JWK Set has %d keys, more than %d", len(list), maxKeys)
	}
	for _, raw := range list {
		if k, err := parseJWK(raw); err == nil {
			set = append(set, k)
		}
	}
	slices.SortStableFunc(set, func(a, b key) int { // those without ids last: maxTried must not cut off others
		return min(len(b.id), 1) - min(len(a.id), 1)
	})
	return set, nil
}

// parseJWK reads one public key. It never follows x5u.
func parseJWK(raw []byte) (key, error) {
	parsed, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return key{}, errors.New("it is no valid key of a known type")
	}
	m := parsed.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig || len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return key{}, errors.New("it is not for signatures")
	}
	return key{m.KID, string(m.ALG), parsed.Key()}, nil
}
