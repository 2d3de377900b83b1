package token

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"partyline/wire/msg"
)

// A fetch that is under way counts for no token that comes meanwhile: it may bring older keys.
func TestFetchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		slowly := func(text string) func(w http.ResponseWriter, r *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(4 * time.Second)
				answer(text)(w, r)
			}
		}
		s.set(false, slowly(jwks(jwk("a", rsaKey, nil))))
		k := fetched(t, s, io.Discard)
		time.Sleep(time.Second)
		s.set(false, slowly(jwks(jwk("a", rsaKey, nil), jwk("b", otherRSA, nil))))
		ann := verify(k, signed("RS256", otherRSA, "b", nil))
		time.Sleep(5 * time.Second)
		ann.says(t, undecided)
		time.Sleep(spacing)
		if after := ann.says(t, accepted); after != 13*time.Second { // the next begins 10 s after the first, and takes 4
			t.Errorf("admitted after %s", after)
		}
	})
}

// Tokens that wait for an issuer take a bounded amount of memory. Those beyond are refused for now, and counted.
func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.set(true, nil)
		k := fetched(t, s, io.Discard)
		raw := signed("RS256", rsaKey, "a", nil)
		waiting := 100
		k.maxWaiting = (waiting+1)*(len(raw)+waiterBytes) - 1
		all := make([]*answered, waiting+7)
		for round := range 2 { // those whose time is over leave room
			for i := range all {
				all[i] = verify(k, raw)
			}
			if round == 0 {
				time.Sleep(patience)
				synctest.Wait() // their time is over now, and so is their end
			}
		}
		got := map[string]int{}
		tally := func() {
			clear(got)
			synctest.Wait()
			for _, each := range all {
				text, _ := each.said()
				got[text]++
			}
		}
		if tally(); got[keyless] != 7 || got[undecided] != waiting || count(t, k, "token_key_waits_dropped_total main") != 14 {
			t.Errorf("%v", got)
		}
		s.set(false, answer(jwks())) // an empty set is an answer
		time.Sleep(spacing * 5 / 4)
		if tally(); got[keyless] != 7 || got[unknown] != waiting {
			t.Errorf("%v", got)
		}
	})
}

// Close ends a fetch that is under way, and no token is answered afterwards.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.set(false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		k := fetched(t, s, io.Discard)
		raw := signed("RS256", rsaKey, "a", nil)
		before := verify(k, raw)
		synctest.Wait()
		during := verify(k, raw)
		start := time.Now()
		if k.Close(); time.Since(start) > 0 {
			t.Errorf("Close took %s", time.Since(start))
		}
		after := verify(k, raw)
		time.Sleep(2 * patience)
		for _, each := range []*answered{before, during, after} {
			each.says(t, undecided)
		}
	})
}

// Entries may share the claim iss: each has keys of its own, and a token waits for those of all that may accept it.
func TestATokenWaitsForEachEntryOfItsIssuer(t *testing.T) {
	oldKeys, newKeys := jwks(jwk("a", rsaKey, nil)), jwks(jwk("a", rsaKey, nil), jwk("b", otherRSA, nil))
	byURL := func(name, audience, url string) Issuer {
		return issuer(func(i *Issuer) { i.Name, i.Audience, i.JWKSURL = name, audience, url })
	}
	file := write(t, string(publicPEM()))
	for name, first := range map[string]func(url string) Issuer{
		"an entry of one key": func(string) Issuer { return issuer(func(i *Issuer) { i.Name, i.PublicKeyFile = "first", file }) },
		"an entry for others": func(url string) Issuer { return byURL("first", "other", url) },
	} {
		for _, isAway := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t)
				s.set(isAway, answer(oldKeys))
				k := open(t, Options{transport: s.transport()}, first(s.url), byURL("main", "partyline", s.url))
				time.Sleep(spacing * 3 / 2)
				s.set(false, answer(newKeys))
				said := undecided
				k.Verify([]string{"first", "main"}, signed("RS256", otherRSA, "b", nil), patience, func(issuer string, g msg.Grant, err error) {
					said = fmt.Sprint(issuer, " ", g.User, " ", err)
				})
				time.Sleep(spacing * 3)
				if synctest.Wait(); said != accepted {
					t.Errorf("beside %s, away %t: %s", name, isAway, said)
				}
			})
		}
	}
}
