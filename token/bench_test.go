package token

import (
	"testing"
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
		found, _ := (*k.entries["main"].keys.Load()).find(t.kid, name)
		b.Run(name+" signature", func(b *testing.B) {
			for b.Loop() {
				if err := t.Method.Verify(t.signed, t.Signature, found[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
