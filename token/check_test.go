package token

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// header changes the header of a token alone.
func header(name string, value any) func(jwt.MapClaims, map[string]any) {
	return func(_ jwt.MapClaims, h map[string]any) { h[name] = value }
}

// claim changes a claim alone.
func claim(name string, value any) func(jwt.MapClaims, map[string]any) {
	return func(c jwt.MapClaims, _ map[string]any) { c[name] = value }
}

// without removes a claim.
func without(name string) func(jwt.MapClaims, map[string]any) {
	return func(c jwt.MapClaims, _ map[string]any) { delete(c, name) }
}

// in returns a time in seconds since 1970.
func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// grant makes the claim partyline of a JSON text.
func grant(text string) func(jwt.MapClaims, map[string]any) {
	return claim("partyline", json.RawMessage(text))
}

// unsigned makes a token of any header and claims, with a signature.
func unsigned(header, claims, signature string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(claims)) + "." + e([]byte(signature))
}

func publicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// badTokens are what an issuer with the algorithms RS256 and ES256, and the keys a (RSA) and e (P-256), refuses.
func badTokens() map[string]struct {
	raw string
	why *Refusal
} {
	type test = struct {
		raw string
		why *Refusal
	}
	rs := func(change func(jwt.MapClaims, map[string]any)) string { return signed("RS256", rsaKey, "a", change) }
	plain := rs(nil)
	parts := strings.Split(plain, ".")
	rsHeader := func(extra string) string { return `{"alg":"RS256","kid":"a"` + extra + `}` }
	everything, _ := json.Marshal(good())
	return map[string]test{
		"nothing":                         {"", ErrMalformed},
		"two parts":                       {parts[0] + "." + parts[1], ErrMalformed},
		"four parts":                      {plain + ".", ErrMalformed},
		"a line end":                      {plain + "\n", ErrMalformed},
		"a line end inside":               {plain[:20] + "\n" + plain[20:], ErrMalformed},
		"Bearer":                          {"Bearer " + plain, ErrMalformed},
		"padding":                         {plain + "=", ErrMalformed},
		"too long":                        {rs(claim("long", strings.Repeat("x", MaxSize))), ErrMalformed},
		"no JSON":                         {unsigned("{", string(everything), "x"), ErrMalformed},
		"claims are no object":            {unsigned(rsHeader(""), `[]`, "x"), ErrMalformed},
		"claims are null":                 {unsigned(rsHeader(""), `null`, "x"), ErrMalformed},
		"claims are not UTF-8":            {unsigned(rsHeader(""), "{\"iss\":\"\xff\"}", "x"), ErrMalformed},
		"alg none":                        {signed("none", jwt.UnsafeAllowNoneSignatureType, "a", nil), ErrAlgorithm},
		"alg None":                        {unsigned(`{"alg":"None"}`, string(everything), ""), ErrAlgorithm},
		"no alg":                          {unsigned(`{}`, string(everything), ""), ErrAlgorithm},
		"alg is a number":                 {unsigned(`{"alg":1}`, string(everything), ""), ErrAlgorithm},
		"HMAC with the public key as PEM": {signed("HS256", publicPEM(), "a", nil), ErrAlgorithm},
		"HMAC with the modulus":           {signed("HS256", rsaKey.N.Bytes(), "a", nil), ErrAlgorithm},
		"an algorithm that is not listed": {signed("PS256", rsaKey, "a", nil), ErrAlgorithm},
		"another longer hash":             {signed("RS512", rsaKey, "a", nil), ErrAlgorithm},
		"key of another algorithm":        {unsigned(`{"alg":"ES256","kid":"a"}`, string(everything), "x"), ErrUnknownKey},
		"crit":                            {rs(header("crit", []string{"exp"})), ErrCritical},
		"empty crit":                      {rs(header("crit", nil)), ErrCritical},
		"kid is no string":                {rs(header("kid", 1)), ErrMalformed},
		"unknown kid":                     {signed("RS256", rsaKey, "z", nil), ErrUnknownKey},
		"foreign key":                     {signed("RS256", otherRSA, "a", nil), ErrSignature},
		"foreign key in the header":       {signed("RS256", otherRSA, "a", header("jwk", jwk("a", otherRSA, nil))), ErrSignature},
		"foreign key, no kid":             {signed("RS256", otherRSA, "", nil), ErrSignature},
		"no signature":                    {parts[0] + "." + parts[1] + ".", ErrSignature},
		"other claims":                    {parts[0] + "." + strings.Split(rs(claim("sub", "bob")), ".")[1] + "." + parts[2], ErrSignature},
		"other header":                    {strings.Split(signed("RS256", rsaKey, "", nil), ".")[0] + "." + parts[1] + "." + parts[2], ErrSignature},
		"no iss":                          {rs(without("iss")), ErrUnknownIssuer},
		"other iss":                       {rs(claim("iss", "https://id.example/")), ErrUnknownIssuer},
		"iss is a list":                   {rs(claim("iss", []string{"https://id.example"})), ErrUnknownIssuer},
		"no aud":                          {rs(without("aud")), ErrClaims},
		"empty aud":                       {rs(claim("aud", []string{})), ErrClaims},
		"aud of another namespace":        {rs(claim("aud", []string{"admin", "other"})), ErrAudience},
		"aud is a number":                 {rs(claim("aud", 1)), ErrClaims},
		"aud holds a number":              {rs(claim("aud", []any{"partyline", 1})), ErrClaims},
		"no exp":                          {rs(without("exp")), ErrClaims},
		"exp is null":                     {rs(claim("exp", nil)), ErrClaims},
		"exp is a string":                 {rs(claim("exp", "9999999999")), ErrClaims},
		"exp is negative":                 {rs(claim("exp", -1)), ErrClaims},
		"exp is huge":                     {rs(claim("exp", 1e300)), ErrClaims},
		"EXP in place of exp":             {rs(func(c jwt.MapClaims, _ map[string]any) { c["EXP"] = c["exp"]; delete(c, "exp") }), ErrClaims},
		"expired":                         {rs(func(c jwt.MapClaims, _ map[string]any) { c["iat"], c["exp"] = in(-time.Hour), in(-6*time.Second) }), ErrExpired},
		"no iat":                          {rs(without("iat")), ErrClaims},
		"iat is a string":                 {rs(claim("iat", "now")), ErrClaims},
		"iat in the future":               {rs(claim("iat", in(time.Minute))), ErrNotValidYet},
		"too early":                       {rs(claim("nbf", in(time.Minute))), ErrNotValidYet},
		"nbf is null":                     {rs(claim("nbf", nil)), ErrClaims},
		"lives too long":                  {rs(claim("exp", in(time.Hour+2*time.Second))), ErrLifetime},
		"no sub":                          {rs(without("sub")), ErrClaims},
		"empty sub":                       {rs(claim("sub", "")), ErrClaims},
		"sub is a number":                 {rs(claim("sub", 7)), ErrClaims},
		"sub with a line end":             {rs(claim("sub", "ann\nbob")), ErrClaims},
		"sub with half a pair":            {rs(claim("sub", json.RawMessage(`"ann\ud800"`))), ErrClaims},
		"grant is null":                   {rs(grant(`null`)), ErrGrant},
		"grant is a string":               {rs(grant(`"lobby"`)), ErrGrant},
		"grant with bad rooms":            {rs(grant(`{"rooms":[1]}`)), ErrGrant},
		"grant with bad patterns":         {rs(grant(`{"join":[""]}`)), ErrGrant},
		"grant with another user":         {rs(grant(`{"user":"bob"}`)), ErrGrant},
		"grant that has expired":          {rs(grant(`{"expires":1000000000}`)), ErrExpired},
	}
}

// opened opens the issuer of badTokens, and another whose tokens are for another namespace.
func opened(t testing.TB, o Options) *Keyring {
	t.Helper()
	return open(t, o,
		issuer(func(i *Issuer) {
			i.Algorithms = []string{"RS256", "ES256"}
			i.JWKSFile = write(t, jwks(jwk("a", rsaKey, nil), jwk("e", p256Key, nil), jwk("x", edKey, nil), jwk("b", p384Key, nil)))
		}),
		issuer(func(i *Issuer) {
			i.Name, i.Issuer, i.Algorithms, i.HMACSecretFile = "other", "other", []string{"HS256"}, write(t, secret+"\n")
		}))
}

// Each bad token is refused for its reason, which is counted. Nothing of any is in an error or the log.
func TestBadTokens(t *testing.T) {
	var log bytes.Buffer
	k := opened(t, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	counted := map[string]int{}
	said := ""
	for name, test := range badTokens() {
		issuer, g, err := k.Check([]string{"main"}, test.raw)
		if !errors.Is(err, test.why) || g.User != "" || g.Expires != 0 {
			t.Errorf("%s: %q, %+v, %v; want %v", name, issuer, g, err, test.why)
		}
		if issuer == "" {
			issuer = "-"
		}
		counted[issuer+" "+test.why.result()]++
		said += err.Error()
	}
	for labels, n := range counted {
		if got := count(t, k, "tokens_checked_total "+labels); got != n {
			t.Errorf("%s counted %d times, want %d", labels, got, n)
		}
	}
	for name, test := range badTokens() {
		for part := range strings.SplitSeq(test.raw, ".") {
			if len(part) > 8 && strings.Contains(said+log.String(), part[:8]) {
				t.Errorf("%s is shown", name)
			}
		}
	}
}

func TestGoodTokens(t *testing.T) { synctest.Test(t, testGoodTokens) }

func testGoodTokens(t *testing.T) {
	k := opened(t, Options{})
	const plain = `{"user":"ann","expires":946685400}` // 600 seconds into the bubble's time
	for name, test := range map[string]struct{ raw, issuer, want string }{
		"plain":     {signed("RS256", rsaKey, "a", nil), "main", plain},
		"curve":     {signed("ES256", p256Key, "e", nil), "main", plain},
		"no kid":    {signed("ES256", p256Key, "", nil), "main", plain},
		"a list":    {signed("RS256", rsaKey, "a", claim("aud", []string{"x", "partyline"})), "main", plain},
		"leeway":    {signed("RS256", rsaKey, "a", claim("exp", in(-4*time.Second))), "main", `{"user":"ann","expires":946684796}`},
		"lifetime":  {signed("RS256", rsaKey, "a", claim("exp", in(time.Hour))), "main", `{"user":"ann","expires":946688400}`},
		"early":     {signed("RS256", rsaKey, "a", claim("nbf", in(5*time.Second))), "main", plain},
		"fractions": {signed("RS256", rsaKey, "a", claim("exp", float64(in(600*time.Second))+0.75)), "main", plain},
		"a grant": {signed("RS256", rsaKey, "a", grant(`{"user":"ann","rooms":["r"],"join":["l-*"],"leave":[],"emit":null,"data":{"a":1}}`)), "main",
			`{"rooms":["r"],"user":"ann","join":["l-*"],"leave":[],"data":{"a":1},"expires":946685400}`},
		"grant ends earlier": {signed("RS256", rsaKey, "a", grant(`{"expires":946685000}`)), "main", `{"user":"ann","expires":946685000}`},
		"grant ends later":   {signed("RS256", rsaKey, "a", grant(`{"expires":946686000}`)), "main", plain},
		"HMAC":               {signed("HS256", []byte(secret), "", claim("iss", "other")), "other", plain},
		"any kid":            {signed("HS256", []byte(secret), "7", claim("iss", "other")), "other", plain},
	} {
		issuer, g, err := k.Check([]string{"main", "other"}, test.raw)
		if got := string(g.JSON()); issuer != test.issuer || err != nil || got != test.want {
			t.Errorf("%s: %s, %s, %v; want %s, %s", name, issuer, got, err, test.issuer, test.want)
		}
	}
	if got := count(t, k, "tokens_checked_total other accepted"); got != 2 {
		t.Errorf("%d tokens counted, want 2", got)
	}
}

// A namespace takes the tokens of its own issuers only.
func TestIssuerOfAnotherNamespace(t *testing.T) {
	k := opened(t, Options{})
	raw := signed("HS256", []byte(secret), "", claim("iss", "other"))
	for _, names := range [][]string{{"main"}, {}, {"unknown"}} {
		if issuer, _, err := k.Check(names, raw); issuer != "" || !errors.Is(err, ErrUnknownIssuer) {
			t.Errorf("%q: %q, %v", names, issuer, err)
		}
	}
}

// A secret is replaced with two entries of one issuer, for as long as tokens of both live.
func TestTwoEntriesOfOneIssuer(t *testing.T) {
	entry := func(name, secret string) Issuer {
		return issuer(func(i *Issuer) {
			i.Name, i.Algorithms, i.HMACSecretFile = name, []string{"HS256"}, write(t, secret)
		})
	}
	k := open(t, Options{}, entry("old", secret), entry("new", "b"+secret))
	for name, key := range map[string]string{"old": secret, "new": "b" + secret} {
		if issuer, _, err := k.Check([]string{"old", "new"}, signed("HS256", []byte(key), "", nil)); issuer != name || err != nil {
			t.Errorf("%s: %q, %v", name, issuer, err)
		}
	}
	if issuer, _, err := k.Check([]string{"old", "new"}, signed("HS256", []byte("c"+secret), "", nil)); issuer != "old" || !errors.Is(err, ErrSignature) {
		t.Errorf("%q, %v", issuer, err)
	}
}

// Each reason begins with the same word, and makes a label of its own. One of them may pass.
func TestRefusals(t *testing.T) {
	seen := map[string]bool{"accepted": true}
	for _, r := range refusals {
		if seen[r.result()] || !strings.HasPrefix(r.Error(), "token ") || r.Temporary() != (r == ErrNoKeys) {
			t.Errorf("%s: %v, temporary %t", r.result(), r, r.Temporary())
		}
		seen[r.result()] = true
	}
	if len(refusals) != refusalCount {
		t.Errorf("%d refusals, want %d", len(refusals), refusalCount)
	}
}
