package token

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// BenchmarkCheck compares a check with the verification of the signature alone.
func BenchmarkCheck(b *testing.B) {
	k := opened(b, Options{})
	for name, raw := range map[string]string{"RS256": signed("RS256", rsaKey, "a", grant(`{"join":["lobby-*"]}`)), "ES256": signed("ES256", p256Key, "e", grant(`{"join":["lobby-*"]}`))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := k.Check([]string{"main"}, raw); err != nil {
					b.Fatal(err)
				}
			}
		})
		t := parse(raw)
		found, _ := (*(*k.now.Load())["main"].keys.Load()).find(t.kid, name)
		b.Run(name+" signature", func(b *testing.B) {
			for b.Loop() {
				if err := t.method.Verify(t.signed, t.signature, found[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLibrary is what golang-jwt needs for the same token.
func BenchmarkLibrary(b *testing.B) {
	raw := signed("RS256", rsaKey, "a", grant(`{"join":["lobby-*"]}`))
	p := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuer("https://id.example"), jwt.WithAudience("partyline"))
	for b.Loop() {
		if _, err := p.Parse(raw, func(*jwt.Token) (any, error) { return rsaKey.Public(), nil }); err != nil {
			b.Fatal(err)
		}
	}
}
