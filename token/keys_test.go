package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/wire/msg"
)

func pemOf(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func certificate(t *testing.T) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour)} // its dates do not count
	der, err := x509.CreateCertificate(rand.Reader, template, template, rsaKey.Public(), rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der, nil)
}

func toJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// Each form of a key file verifies a token with any kid.
func TestKeyFiles(t *testing.T) {
	pkix := func(public any) string {
		der, err := x509.MarshalPKIXPublicKey(public)
		return pemOf("PUBLIC KEY", der, err)
	}
	for name, test := range map[string]struct {
		alg, file string
		key       any
	}{
		"RSA":         {"RS256", pkix(rsaKey.Public()), rsaKey},
		"RSA-PSS":     {"PS512", pkix(rsaKey.Public()), rsaKey},
		"PKCS 1":      {"RS384", pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil), rsaKey},
		"P-256":       {"ES256", pkix(p256Key.Public()), p256Key},
		"P-384":       {"ES384", pkix(p384Key.Public()), p384Key},
		"Ed25519":     {"EdDSA", "text before\n" + pkix(edKey.Public()), edKey},
		"certificate": {"RS256", certificate(t), rsaKey},
		"JWK":         {"RS256", " " + toJSON(jwk("other", rsaKey, nil)), rsaKey},
		"JWK EC":      {"ES384", toJSON(jwk("", p384Key, nil)), p384Key},
		"JWK Ed25519": {"EdDSA", toJSON(jwk("", edKey, nil)), edKey},
	} {
		k := open(t, Options{}, issuer(func(i *Issuer) { i.Algorithms, i.PublicKeyFile = []string{test.alg}, write(t, test.file) }))
		if got := result(k, signed(test.alg, test.key, "any", nil)); got != accepted {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		k := open(t, Options{}, issuer(func(i *Issuer) { i.Algorithms, i.HMACSecretFile = []string{"HS256"}, write(t, secret+end) }))
		if got := result(k, signed("HS256", []byte(secret), "", nil)); got != accepted {
			t.Errorf("secret and %q: %s", end, got)
		}
	}
}

// A set keeps the keys that the algorithms can use, and no other.
func TestKeysOfASet(t *testing.T) {
	with := func(name string, value any) func(map[string]any) { return func(m map[string]any) { m[name] = value } }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key  any
		kept bool
	}{
		"RSA":                {jwk("k", rsaKey, nil), true},
		"for signatures":     {jwk("k", rsaKey, with("use", "sig")), true},
		"to verify":          {jwk("k", rsaKey, with("key_ops", []string{"verify"})), true},
		"its algorithm":      {jwk("k", rsaKey, with("alg", "RS256")), true},
		"another algorithm":  {jwk("k", rsaKey, with("alg", "RS512")), false},
		"HMAC":               {jwk("k", rsaKey, with("alg", "HS256")), false},
		"for encryption":     {jwk("k", rsaKey, with("use", "enc")), false},
		"to encrypt":         {jwk("k", rsaKey, with("key_ops", []string{"encrypt"})), false},
		"x5u":                {jwk("k", rsaKey, with("x5u", "http://127.0.0.1:1/")), false},
		"too small":          {jwk("k", small, nil), false},
		"another type":       {jwk("k", edKey, nil), false},
		"another curve":      {jwk("k", p384Key, nil), false},
		"the curve":          {jwk("k", p256Key, nil), true},
		"a secret":           {map[string]any{"kty": "oct", "kid": "k", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgb3IgbW9yZQ"}, false},
		"a secret for RS256": {map[string]any{"kty": "oct", "kid": "k", "alg": "RS256", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgb3IgbW9yZQ"}, false},
		"no type":            {map[string]any{"kid": "k"}, false},
		"no key":             {7, false},
		"e is 1":             {jwk("k", rsaKey, with("e", "AQ")), false},
		"not on the curve":   {jwk("k", p256Key, with("x", "AQAB")), false},
	} {
		i := issuer(func(i *Issuer) { i.Algorithms, i.JWKSURL = []string{"RS256", "ES256"}, "https://id.example" })
		set, err := i.parse([]byte(jwks(test.key, jwk("good", otherRSA, nil))))
		has := slices.ContainsFunc(set, func(k key) bool { return k.id == "k" })
		if err != nil || has != test.kept || !slices.ContainsFunc(set, func(k key) bool { return k.id == "good" }) {
			t.Errorf("%s: %d keys, kept %t, %v; want %t", name, len(set), has, err, test.kept)
		}
	}
}

// The key that a token names comes before keys without ids, however many there are.
func TestTheNamedKeyComesFirst(t *testing.T) {
	var keys []any
	for range maxTried {
		keys = append(keys, jwk("", otherRSA, nil))
	}
	k := open(t, Options{}, issuer(func(i *Issuer) { i.JWKSFile = write(t, jwks(append(keys, jwk("a", rsaKey, nil))...)) }))
	if got := result(k, signed("RS256", rsaKey, "a", nil)); got != accepted {
		t.Error(got)
	}
}

// A token without kid is verified with a few keys only. One with a kid is not verified with another's.
func TestFind(t *testing.T) {
	var set keySet
	for _, id := range []string{"a", "b", "c", "d", "e", ""} {
		set = append(set, key{id: id, key: rsaKey.Public()})
	}
	for kid, want := range map[string]struct {
		n     int
		named bool
	}{"": {maxTried, true}, "a": {2, true}, "z": {1, false}} {
		if found, named := set.find(kid, "RS256"); len(found) != want.n || named != want.named {
			t.Errorf("%q: %d keys, named %t; want %v", kid, len(found), named, want)
		}
	}
	if found, _ := set.find("a", "ES256"); len(found) > 0 {
		t.Error("RSA keys for a curve")
	}
}

func TestFaults(t *testing.T) {
	url := func(u string) func(*Issuer) { return func(i *Issuer) { i.JWKSURL = u } }
	with := func(change func(*Issuer)) func(*Issuer) {
		return func(i *Issuer) { i.JWKSURL = "https://id.example/keys"; change(i) }
	}
	file := func(text string) func(*Issuer) { return func(i *Issuer) { i.PublicKeyFile = write(t, text) } }
	hmac := func(text string, algorithms ...string) func(*Issuer) {
		return func(i *Issuer) { i.HMACSecretFile, i.Algorithms = write(t, text), algorithms }
	}
	private, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	for name, test := range map[string]struct {
		change       func(*Issuer)
		key, problem string // "" for no fault
	}{
		"good":                    {url("https://id.example/keys"), "", ""},
		"loopback":                {url("http://127.0.0.1:1/keys"), "", ""},
		"loopback IPv6":           {url("http://[::1]/keys"), "", ""},
		"localhost":               {url("http://localhost:8080/keys"), "", ""},
		"http":                    {url("http://id.example/keys"), "jwks_url", "must begin with https://"},
		"http of a tricky host":   {url("http://localhost.example/keys"), "jwks_url", "must begin with https://"},
		"loopback as a user":      {url("http://localhost@id.example/keys"), "jwks_url", "has a user"},
		"a password":              {url("https://ann:s3cret@id.example/keys"), "jwks_url", "has a user"},
		"ftp":                     {url("ftp://id.example/keys"), "jwks_url", "is not a URL"},
		"no host":                 {url("https:///s3cret"), "jwks_url", "is not a URL"},
		"no URL":                  {url("s3cret"), "jwks_url", "is not a URL"},
		"no keys":                 {func(*Issuer) {}, "", "has no keys"},
		"two sources":             {with(func(i *Issuer) { i.JWKSFile = "s3cret" }), "", "has 2 sources"},
		"no name":                 {with(func(i *Issuer) { i.Name = "" }), "name", "must be"},
		"a name with a blank":     {with(func(i *Issuer) { i.Name = "s3cret s" }), "name", "must be"},
		"no issuer":               {with(func(i *Issuer) { i.Issuer = "" }), "issuer", "is missing"},
		"no audience":             {with(func(i *Issuer) { i.Audience = "" }), "audience", "would open this one"},
		"no claim":                {with(func(i *Issuer) { i.Claim = "" }), "claim", "must name"},
		"claim sub":               {with(func(i *Issuer) { i.Claim = "sub" }), "claim", "must name"},
		"leeway":                  {with(func(i *Issuer) { i.Leeway = 61 * time.Second }), "leeway", "1m1s is not between"},
		"negative leeway":         {with(func(i *Issuer) { i.Leeway = -1 }), "leeway", "is not between"},
		"no lifetime":             {with(func(i *Issuer) { i.MaxLifetime = 0 }), "max_lifetime", "is not between"},
		"no algorithms":           {with(func(i *Issuer) { i.Algorithms = nil }), "algorithms", "is missing"},
		"none":                    {with(func(i *Issuer) { i.Algorithms = []string{"RS256", "None"} }), "algorithms", "unsigned tokens"},
		"unknown algorithm":       {with(func(i *Issuer) { i.Algorithms = []string{"RS256", "s3cret"} }), "algorithms", "item 2 is unknown"},
		"an algorithm twice":      {with(func(i *Issuer) { i.Algorithms = []string{"RS256", "RS256"} }), "algorithms", "RS256 is listed twice"},
		"HMAC and public keys":    {with(func(i *Issuer) { i.Algorithms = []string{"RS256", "HS256"} }), "algorithms", "HS256 needs hmac_secret_file"},
		"public keys and HMAC":    {hmac(secret, "HS256", "RS256"), "algorithms", "RS256 has public keys"},
		"HMAC":                    {hmac(secret, "HS256"), "", ""},
		"short secret":            {hmac(secret[:31]+"\n", "HS256"), "hmac_secret_file", "shorter than 32 bytes"},
		"short secret of HS512":   {hmac(secret, "HS512"), "hmac_secret_file", "shorter than 64 bytes"},
		"missing file":            {func(i *Issuer) { i.PublicKeyFile = "/s3cret" }, "public_key_file", "cannot be read: no such file"},
		"no PEM":                  {file("s3cret"), "public_key_file", "has no public key"},
		"private key":             {file(pemOf("PRIVATE KEY", private, err)), "public_key_file", "has a private key"},
		"broken PEM":              {file(pemOf("PUBLIC KEY", []byte("s3cret"), nil)), "public_key_file", "has no good public key"},
		"key for something else":  {file(toJSON(jwk("", edKey, nil))), "public_key_file", "no key that fits"},
		"broken JWK":              {file(`{"kty":"RSA"}`), "public_key_file", "no public key as a JWK"},
		"empty JWK Set":           {func(i *Issuer) { i.JWKSFile = write(t, jwks()) }, "jwks_file", "no key that fits"},
		"JWK in place of a set":   {func(i *Issuer) { i.JWKSFile = write(t, toJSON(jwk("", rsaKey, nil))) }, "jwks_file", `no array "keys"`},
		"folder in place of file": {func(i *Issuer) { i.JWKSFile = t.TempDir() }, "jwks_file", "cannot be read"},
	} {
		i := issuer(test.change)
		faults := i.Faults()
		k, err := Open([]Issuer{i}, Options{})
		if k != nil {
			k.Close()
		}
		if (err == nil) != (test.problem == "") {
			t.Errorf("%s: Open returns %v", name, err)
		}
		if test.problem == "" && len(faults) == 0 {
			continue
		}
		if len(faults) != 1 || faults[0].Key != test.key || test.problem == "" || !strings.Contains(faults[0].Problem, test.problem) ||
			strings.Contains(faults[0].Problem, "s3cret") {
			t.Errorf("%s: %+v, want one of %q: %s", name, faults, test.key, test.problem)
		}
	}
	twice := issuer(url("https://id.example/keys"))
	if k, err := Open([]Issuer{twice, twice}, Options{}); err == nil || k != nil {
		t.Error("a name is used twice")
	}
}

// Sign makes tokens that Check accepts, for issuers with a secret only.
func TestSign(t *testing.T) {
	i := issuer(func(i *Issuer) {
		i.Algorithms, i.HMACSecretFile = []string{"HS256", "HS384"}, write(t, strings.Repeat(secret, 2))
	})
	k := open(t, Options{}, i)
	want := msg.Grant{User: "ann", Join: []string{"lobby-*"}, Leave: []string{}, Data: json.RawMessage(`{"a":1}`)}
	raw, err := i.Sign(want, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, got, err := k.Check([]string{"main"}, raw)
	if want.Expires = got.Expires; err != nil || string(got.JSON()) != string(want.JSON()) {
		t.Errorf("%s, %v; want %s", got.JSON(), err, want.JSON())
	}
	for name, lifetime := range map[string]time.Duration{"": time.Hour, "ann": time.Hour + time.Second, "bob": 0} {
		if _, err := i.Sign(msg.Grant{User: name}, lifetime); err == nil {
			t.Errorf("%q for %s", name, lifetime)
		}
	}
	i.HMACSecretFile, i.JWKSURL = "", "https://id.example"
	if _, err := i.Sign(want, time.Hour); err == nil {
		t.Error("signed without a secret")
	}
}
