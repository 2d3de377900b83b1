package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzCheck gives a Keyring arbitrary tokens, and arbitrary headers and claims with a good signature. Check never
// panics. What it accepts, a second verification accepts too, with nothing but the standard library.
func FuzzCheck(f *testing.F) {
	k := opened(f, Options{})
	now := time.Now().Unix()
	for _, test := range badTokens() {
		f.Add(test.raw, "", "", int64(0))
		header, claims, _ := strings.Cut(test.raw, ".")
		claims, _, _ = strings.Cut(claims, ".")
		h, _ := base64.RawURLEncoding.DecodeString(header)
		c, _ := base64.RawURLEncoding.DecodeString(claims)
		text := strings.NewReplacer("RS256", "HS256", "https://id.example", "other").Replace
		f.Add("", text(string(h)), text(string(c)), now)
	}
	f.Add("", `{"alg":"HS256"}`, `{"iss":"other","aud":"partyline","sub":"ann","iat":1,"exp":1000,"partyline":{"rooms":["a"],"expires":9}}`, int64(1))
	f.Fuzz(func(t *testing.T, raw, header, claims string, since int64) {
		if raw == "" {
			raw = signedBy(secret, header, shifted(claims, since))
		}
		issuer, g, err := k.Check([]string{"main", "other"}, raw)
		if err != nil {
			if g.User != "" || g.Expires != 0 || g.Rooms != nil {
				t.Fatalf("a grant of a refused token: %+v", g)
			}
			return
		}
		if issuer != "other" {
			t.Fatal(issuer)
		}
		c := secondLook(t, raw)
		expires := int64(c["exp"].(float64))
		if own, isObject := c["partyline"].(map[string]any); isObject {
			if user, has := own["user"].(string); has && user != "" && user != g.User {
				t.Fatalf("user %q in the grant, %q in sub", user, g.User)
			}
			if at, has := own["expires"].(float64); has && int64(at) < expires {
				expires = int64(max(1, at))
			}
		} else if c["partyline"] != nil {
			t.Fatalf("the grant is %v", c["partyline"])
		}
		if g.User != c["sub"] || g.Expires != expires {
			t.Fatalf("the user is %q until %d, want %q until %d", g.User, g.Expires, c["sub"], expires)
		}
	})
}

// shifted adds to the times of claims what has passed since they were made, so that seeds do not expire.
func shifted(claims string, since int64) string {
	var c map[string]any
	if json.Unmarshal([]byte(claims), &c) != nil || c == nil {
		return claims
	}
	for _, name := range []string{"iat", "exp", "nbf"} {
		if at, isNumber := c[name].(float64); isNumber {
			c[name] = at + float64(time.Now().Unix()-since)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return claims
	}
	return string(text)
}

func signedBy(secret, header, claims string) string {
	e := base64.RawURLEncoding.EncodeToString
	body := e([]byte(header)) + "." + e([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(body))
	return body + "." + e(mac.Sum(nil))
}

// secondLook verifies a token of the issuer other, and returns its claims.
func secondLook(t *testing.T, raw string) (c map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(raw) > MaxSize || len(parts) != 3 {
		t.Fatalf("accepted %d parts, %d bytes", len(parts), len(raw))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			t.Fatal(err)
		}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(mac.Sum(nil), decoded[2]) {
		t.Fatal("accepted a bad signature")
	}
	var h map[string]any
	if err := json.Unmarshal(decoded[0], &h); err != nil {
		t.Fatal(err)
	}
	if _, crit := h["crit"]; crit || h["alg"] != "HS256" {
		t.Fatalf("accepted the header %v", h)
	}
	if err := json.Unmarshal(decoded[1], &c); err != nil {
		t.Fatal(err)
	}
	const leeway = 6 // and a second for this test
	now := float64(time.Now().Unix())
	number := func(name string) float64 {
		n, is := c[name].(float64)
		if !is {
			t.Fatalf("accepted %s %v", name, c[name])
		}
		return math.Floor(n)
	}
	aud, _ := c["aud"].([]any)
	sub, _ := c["sub"].(string)
	if c["iss"] != "other" || c["aud"] != "partyline" && !slices.Contains(aud, any("partyline")) || sub == "" ||
		number("exp") <= now-leeway || number("iat") > now+leeway || number("exp")-number("iat") > 3600 {
		t.Fatalf("accepted the claims %v", c)
	}
	if _, has := c["nbf"]; has && number("nbf") > now+leeway {
		t.Fatalf("accepted nbf %v", c["nbf"])
	}
	return c
}

// FuzzKeys gives arbitrary files of keys. Nothing panics, and each key that is kept can be used by an algorithm.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(jwks(jwk("a", rsaKey, nil), jwk("e", p256Key, nil), jwk("x", edKey, nil))))
	f.Add(publicPEM())
	f.Add([]byte(toJSON(jwk("", p384Key, nil))))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB","x5u":"https://127.0.0.1:1/"},null,[]]}`))
	f.Add([]byte(secret))
	f.Fuzz(func(t *testing.T, data []byte) {
		public := []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}
		for _, i := range []Issuer{
			{JWKSFile: "f", Algorithms: public}, {PublicKeyFile: "f", Algorithms: public}, {HMACSecretFile: "f", Algorithms: []string{"HS256"}},
		} {
			set, err := i.parse(data)
			for _, k := range set {
				if err != nil || !slices.ContainsFunc(i.Algorithms, func(alg string) bool { return fits(k.key, alg) }) {
					t.Fatalf("kept %T, %v", k.key, err)
				}
			}
		}
	})
}
