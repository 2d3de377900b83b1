package token

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"
)

// replace puts other issuers in the place of those of a Keyring.
func replace(t *testing.T, k *Keyring, issuers ...Issuer) {
	t.Helper()
	use, err := k.Prepare(issuers)
	if err != nil {
		t.Fatal(err)
	}
	use()
}

// While issuers come and go, tokens of one that stays are good all the time, and those of the other until it is gone.
// What is counted goes on.
func TestIssuersComeAndGo(t *testing.T) {
	t.Parallel()
	stays := issuer(func(i *Issuer) { i.HMACSecretFile, i.Algorithms = write(t, secret), []string{"HS256"} })
	comes := issuer(func(i *Issuer) {
		i.Name, i.Issuer, i.HMACSecretFile, i.Algorithms = "other", "https://other.example", stays.HMACSecretFile, stays.Algorithms
	})
	k := open(t, Options{}, stays)
	good := signed("HS256", []byte(secret), "", nil)
	other := signed("HS256", []byte(secret), "", func(c jwt.MapClaims, _ map[string]any) { c["iss"] = comes.Issuer })
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 1000 {
				if _, _, err := k.Check([]string{"main", "other"}, good); err != nil {
					t.Errorf("a token of the issuer that stays: %v", err)
				}
				if _, _, err := k.Check([]string{"main", "other"}, other); err != nil && !errors.Is(err, ErrUnknownIssuer) {
					t.Errorf("a token of the issuer that comes and goes: %v", err)
				}
			}
		})
	}
	for range 100 {
		replace(t, k, stays, comes)
		replace(t, k, stays)
	}
	running.Wait()
	if got := count(t, k, "tokens_checked_total main accepted"); got != 4000 {
		t.Errorf("%d tokens are counted of 4000", got)
	}
	missing := stays
	missing.HMACSecretFile += "-missing"
	if _, err := k.Prepare([]Issuer{missing}); err == nil {
		t.Error("a file that is missing was accepted")
	}
	if _, _, err := k.Check([]string{"main"}, good); err != nil {
		t.Errorf("after issuers that were refused: %v", err)
	}
}

// A token that waits for keys of an issuer is judged again when others are configured, or none.
func TestIssuerIsReplacedWhileTokensWait(t *testing.T) {
	for name, next := range map[string][]Issuer{
		"another source": {issuer(func(i *Issuer) { i.JWKSFile = write(t, jwks(jwk("a", rsaKey, nil))) })}, "none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t)
				s.set(true, nil)
				k := open(t, Options{transport: s.transport()}, issuer(func(i *Issuer) { i.JWKSURL = s.url }))
				ann := verify(k, signed("RS256", rsaKey, "a", nil))
				synctest.Wait()
				ann.says(t, undecided)
				replace(t, k, next...)
				synctest.Wait()
				want := "  " + ErrUnknownIssuer.Error()
				if next != nil {
					want = accepted
				}
				ann.says(t, want)
			})
		})
	}
}
