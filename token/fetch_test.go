package token

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"partyline/wire/msg"
)

// fetched opens one issuer whose keys come from s.
func fetched(t *testing.T, s *server, log io.Writer) *Keyring {
	t.Helper()
	return open(t, Options{Log: slog.New(slog.NewTextHandler(log, nil)), transport: s.transport()}, issuer(func(i *Issuer) { i.JWKSURL = s.url }))
}

// result is what Check says of a token of main.
func result(k *Keyring, raw string) string {
	issuer, g, err := k.Check([]string{"main"}, raw)
	return fmt.Sprint(issuer, " ", g.User, " ", err)
}

const (
	accepted  = "main ann <nil>"
	unknown   = "main  token key unknown"
	keyless   = "main  token keys not available"
	patience  = time.Minute
	undecided = "undecided"
)

// answered is what Verify says of a token, and when.
type answered struct {
	mu    sync.Mutex
	texts []string
	after time.Duration
}

// verify verifies a token of main, within patience.
func verify(k *Keyring, raw string) *answered {
	a, start := &answered{}, time.Now()
	k.Verify([]string{"main"}, raw, patience, func(issuer string, g msg.Grant, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.texts, a.after = append(a.texts, fmt.Sprint(issuer, " ", g.User, " ", err)), time.Since(start)
	})
	return a
}

// said returns the answer.
func (a *answered) said() (text string, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.texts) == 0 {
		return undecided, 0
	}
	return strings.Join(a.texts, ", "), a.after
}

// says checks the answer, once all goroutines of the bubble wait.
func (a *answered) says(t *testing.T, want string) (after time.Duration) {
	t.Helper()
	synctest.Wait()
	text, after := a.said()
	if text != want {
		t.Errorf("%s after %s, want %s", text, after, want)
	}
	return after
}

// Thousands of tokens with unknown keys cause a fetch every 10 s. A client with the new key of the issuer is admitted
// by the first that began after it came, and the others are refused.
func TestRotationBesideUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.set(false, answer(jwks(jwk("a", rsaKey, nil))))
		k := fetched(t, s, io.Discard)
		synctest.Wait()
		verify(k, signed("RS256", rsaKey, "a", nil)).says(t, accepted)
		other := signed("ES256", p256Key, "a", nil)
		var all []*answered
		flood := func() { // 200 a second
			for range 20 {
				all = append(all, verify(k, unsigned(fmt.Sprintf(`{"alg":"RS256","kid":"%d"}`, len(all)), `{"iss":"https://id.example"}`, "x")))
			}
			verify(k, other).says(t, "main  token algorithm not allowed")
			time.Sleep(100 * time.Millisecond)
		}
		for range 131 { // 13.1 s: in the midst of two fetches
			flood()
		}
		s.set(false, answer(jwks(jwk("a", rsaKey, nil), jwk("b", otherRSA, nil))))
		ann := verify(k, signed("RS256", otherRSA, "b", nil))
		for range 300 {
			flood()
		}
		if after := ann.says(t, accepted); after == 0 || after > spacing {
			t.Errorf("admitted after %s, want within %s", after, spacing)
		}
		begun := s.requests()
		if n := len(begun); n < 5 || n > 7 { // at the start, 10 s later, and so on for 43 s
			t.Errorf("%d fetches", n)
		}
		for i, at := range begun[1:] {
			if after := at.Sub(begun[i]); after < spacing {
				t.Errorf("a fetch after %s", after)
			}
		}
		time.Sleep(spacing)
		synctest.Wait()
		for i, each := range all {
			if got, after := each.said(); got != unknown || after > spacing {
				t.Fatalf("token %d: %s after %s", i, got, after)
			}
		}
		if got := count(t, k, "tokens_checked_total main key_unknown"); got != len(all) {
			t.Errorf("%d tokens counted, want %d", got, len(all))
		}
		verify(k, signed("RS256", rsaKey, "a", nil)).says(t, accepted)
	})
}

// Without keys tokens wait, whatever their key, until the server is there or the time is over.
func TestServerAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := serve(t)
		s.set(true, answer(jwks(jwk("a", rsaKey, nil))))
		k := fetched(t, s, &log)
		raw := signed("RS256", rsaKey, "a", nil)
		if got := result(k, raw); got != keyless {
			t.Error(got)
		}
		first := verify(k, raw)
		time.Sleep(45 * time.Second)
		later, foreign := verify(k, raw), verify(k, signed("RS256", otherRSA, "a", nil))
		time.Sleep(14 * time.Second)
		first.says(t, undecided)
		time.Sleep(time.Second)
		if after := first.says(t, keyless); after != patience {
			t.Errorf("refused after %s, want %s", after, patience)
		}
		later.says(t, undecided)
		if got := strings.Count(log.String(), "connection refused"); got != 1 {
			t.Errorf("%d log lines of one reason in a minute, want 1:\n%s", got, log.String())
		}
		s.set(false, answer(jwks(jwk("a", rsaKey, nil))))
		time.Sleep(spacing * 5 / 4)
		later.says(t, accepted)
		foreign.says(t, "main  token signature invalid")
		first.says(t, keyless)
		failed := count(t, k, "token_key_fetches_failed_total main")
		if failed < 8 || failed > 12 || count(t, k, "token_key_fetches_total main") != failed+1 || count(t, k, "token_keys main") != 1 {
			t.Errorf("%d fetches failed", failed)
		}
	})
}

// The last keys stay while the server is away, for days. A token with an unknown key waits for the server.
func TestServerAwayLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.set(false, answer(jwks(jwk("a", rsaKey, nil))))
		k := fetched(t, s, io.Discard)
		synctest.Wait()
		s.set(true, nil)
		time.Sleep(48 * time.Hour)
		verify(k, signed("RS256", rsaKey, "a", nil)).says(t, accepted)
		raw := signed("RS256", otherRSA, "b", nil)
		first := verify(k, raw)
		time.Sleep(patience)
		first.says(t, keyless)
		second := verify(k, raw)
		time.Sleep(spacing)
		second.says(t, undecided)
		s.set(false, answer(jwks(jwk("b", otherRSA, nil))))
		time.Sleep(spacing)
		second.says(t, accepted)
		verify(k, signed("RS256", otherRSA, "b", nil)).says(t, accepted)
		if got := result(k, signed("RS256", rsaKey, "a", nil)); got != unknown { // the issuer has taken it back
			t.Error(got)
		}
	})
}

// Keys are fetched each hour, less a random tenth, also when no token comes.
func TestRefreshEachHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.set(false, answer(jwks(jwk("a", rsaKey, nil))))
		fetched(t, s, io.Discard)
		time.Sleep(24 * time.Hour)
		different := map[time.Duration]bool{}
		begun := s.requests()
		for i, at := range begun[1:] {
			after := at.Sub(begun[i])
			if different[after] = true; after < refreshEvery*9/10 || after > refreshEvery {
				t.Errorf("a fetch after %s", after)
			}
		}
		if n := len(begun); n < 24 || n > 28 || len(different) < 2 {
			t.Errorf("%d fetches, after %v", n, different)
		}
	})
}

// Whatever else the server answers, the last keys stay, and the log says what is wrong and no part of the URL.
func TestBadAnswers(t *testing.T) {
	redirected := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		answer(jwks(jwk("b", otherRSA, nil)))(w, r)
	}
	long := `{"keys":[` + strings.TrimPrefix(strings.TrimSuffix(jwks(jwk("b", otherRSA, nil)), "]}"), `{"keys":[`) + `],"x":"` + strings.Repeat("x", maxAnswer) + `"}`
	many := make([]any, maxKeys+1)
	for i := range many {
		many[i] = jwk(fmt.Sprint(i), otherRSA, nil)
	}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		log    string
	}{
		"redirect":      {redirected, "jwks_url answers with status 302, and redirects are not followed"},
		"status":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "jwks_url answers with status 503"},
		"too long":      {answer(long), "longer than 1048576 bytes"},
		"too many keys": {answer(jwks(many...)), "101 keys, more than 100"},
		"HTML":          {answer("<html>"), "the JWK Set is not a JSON object"},
		"no keys":       {answer(`{"KEYS":[]}`), "has no array"},
		"keys is null":  {answer(`{"keys":null}`), "has no array"},
		"list":          {answer(`[]`), "the JWK Set is not a JSON object"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte("{"))
		}, "ends early"},
		"never answers": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "jwks_url cannot be fetched"},
		"drop by drop": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
		}, "ends early"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := serve(t)
				s.url += "?code=s3cret"
				s.set(false, answer(jwks(jwk("a", rsaKey, nil))))
				k := fetched(t, s, &log)
				synctest.Wait()
				s.set(false, test.answer)
				start := time.Now()
				waiting := verify(k, signed("RS256", otherRSA, "b", nil))
				time.Sleep(spacing + fetchTimeout)
				for range 3 {
					synctest.Wait()
					if got := result(k, signed("RS256", rsaKey, "a", nil)); got != accepted {
						t.Error(got)
					}
					time.Sleep(time.Second)
				}
				waiting.says(t, undecided)
				if failed := count(t, k, "token_key_fetches_failed_total main"); failed != 1 || s.requests()[1].Sub(start) != spacing {
					t.Errorf("%d failures, at %v", failed, s.requests())
				}
				if text := log.String(); !strings.Contains(text, test.log) || strings.Contains(text, "s3cret") || strings.Contains(text, "localhost") {
					t.Errorf("the log says\n%s, want %s", text, test.log)
				}
			})
		})
	}
}

// A file is read again, each minute and for unknown keys. A bad one changes nothing.
func TestFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := write(t, jwks(jwk("a", rsaKey, nil)))
		k := open(t, Options{}, issuer(func(i *Issuer) { i.JWKSFile = file }))
		change := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"", jwks(), jwks(jwk("x", edKey, nil))} {
			change(text)
			time.Sleep(rereadEvery + time.Second)
			if got := result(k, signed("RS256", rsaKey, "a", nil)); got != accepted {
				t.Errorf("%q: %s", text, got)
			}
		}
		change(jwks(jwk("b", otherRSA, nil)))
		ann := verify(k, signed("RS256", otherRSA, "b", nil))
		time.Sleep(spacing)
		ann.says(t, accepted)
	})
}

// On a real network: plain HTTP of loopback is allowed, and a certificate must be good.
func TestNetwork(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	keys := http.HandlerFunc(answer(jwks(jwk("a", rsaKey, nil))))
	plain, tls := httptest.NewServer(keys), httptest.NewUnstartedServer(keys)
	defer plain.Close()
	defer tls.Close()
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	k := open(t, Options{}, issuer(func(i *Issuer) { i.JWKSURL = plain.URL }), issuer(func(i *Issuer) { i.Name, i.JWKSURL = "tls", tls.URL }))
	eventually(t, "the keys", func() bool { return result(k, signed("RS256", rsaKey, "a", nil)) == accepted })
	eventually(t, "a failure", func() bool { return count(t, k, "token_key_fetches_failed_total tls") > 0 })
	if _, _, err := k.Check([]string{"tls"}, signed("RS256", rsaKey, "a", nil)); !errors.Is(err, ErrNoKeys) {
		t.Error(err)
	}
}
