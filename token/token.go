// Package token verifies the tokens of clients, JSON Web Tokens (RFC 7519), and reads the grants in them.
//
// A Keyring has the keys of all issuers. Each issuer has a goroutine that reads its keys from a URL or a file: at the
// start, now and then, and when a token names a key that is not there. Check uses the keys that are there, and never
// waits. Keys come from the configuration alone: jku, x5u and jwk in a token's header mean nothing.
//
// Nothing of a token is ever in a log line or an error.
package token

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"

	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// Options are what a Keyring needs beside its issuers.
type Options struct {
	Log *slog.Logger // nil: nothing is logged

	transport http.RoundTripper // of tests; nil: the network
}

// Keyring has the keys of issuers. It is safe for concurrent use.
type Keyring struct {
	entries map[string]*entry // by name; static
	names   []string          // of entries, in the order of the configuration
	foreign results           // of tokens without a known issuer
	client  *http.Client
	log     *throttle.Logger
	stop    context.CancelFunc
	running sync.WaitGroup

	maxWaiting int // static
}

// entry is an issuer, and its keys.
type entry struct {
	Issuer
	ring      *Keyring
	validator *jwt.Validator
	keys      atomic.Pointer[keySet] // nil: there were none yet
	failing   bool                   // of run: the last fetch failed
	wake      chan struct{}          // a token waits for a fetch
	checked   results
	fetches   tally.Counter
	failures  tally.Counter
	dropped   tally.Counter // tokens that could not wait, because too many did

	mu           sync.Mutex
	waiting      map[*waiter]struct{} // guarded by mu: for the next fetch; nil after close
	waitingBytes int                  // guarded by mu: of waiting
}

// Open returns a Keyring with the keys of issuers. It reads their files, and begins to fetch the keys of the others
// without waiting for them. It returns an error if an issuer has faults, or a name is used twice.
func Open(issuers []Issuer, o Options) (*Keyring, error) {
	k := &Keyring{entries: map[string]*entry{}, client: newClient(o.transport), maxWaiting: maxWaiting}
	k.log = throttle.New(cmp.Or(o.Log, slog.New(slog.DiscardHandler)))
	for _, i := range issuers {
		if faults := i.Faults(); len(faults) > 0 {
			return nil, fmt.Errorf("tokens: %s: %s: %s", i.Name, faults[0].Key, faults[0].Problem)
		}
		if k.entries[i.Name] != nil {
			return nil, fmt.Errorf("tokens: the name %s is used twice", i.Name)
		}
		e := &entry{Issuer: i, ring: k, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}}
		e.validator = jwt.NewValidator(jwt.WithLeeway(i.Leeway), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
			jwt.WithIssuer(i.Issuer), jwt.WithAudience(i.Audience))
		if key, path := i.file(); path != "" {
			set, err := i.readFile(path)
			if err != nil {
				return nil, fmt.Errorf("tokens: %s: %s: %w", i.Name, key, err)
			}
			e.keys.Store(&set)
		}
		k.entries[i.Name], k.names = e, append(k.names, i.Name)
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	for _, e := range k.entries {
		k.running.Go(func() { e.run(ctx) })
	}
	return k, nil
}

// Close ends what Open started, and waits for it.
func (k *Keyring) Close() {
	k.stop()
	for _, e := range k.entries {
		for w := range e.take(nil) {
			w.stop()
		}
	}
	k.running.Wait()
}

// results counts tokens by what Check said: first those that are good, then those with each of refusals.
type results [1 + refusalCount]tally.Counter

// Metrics returns the metrics of the keyring: none if it has no issuers.
func (k *Keyring) Metrics() *tally.Set {
	var set tally.Set
	if len(k.names) == 0 {
		return &set
	}
	counter := func(c *tally.Counter, name, help string, labels ...tally.Label) {
		set.Func(tally.KindCounter, name, help, func() float64 { return float64(c.Value()) }, labels...)
	}
	checked := func(issuer string, r *results) {
		for i := range r {
			result := "accepted"
			if i > 0 {
				result = refusals[i-1].result()
			}
			counter(&r[i], "tokens_checked_total", "Tokens that were checked, by issuer and result. Tokens without a known issuer have the issuer -.",
				tally.Label{Name: "issuer", Value: issuer}, tally.Label{Name: "result", Value: result})
		}
	}
	checked("-", &k.foreign)
	for _, name := range k.names {
		checked(name, &k.entries[name].checked)
	}
	each := func(of func(e *entry) *tally.Counter, name, help string) {
		for _, issuer := range k.names {
			counter(of(k.entries[issuer]), name, help, tally.Label{Name: "issuer", Value: issuer})
		}
	}
	each(func(e *entry) *tally.Counter { return &e.fetches }, "token_key_fetches_total", "Times that the keys of an issuer were fetched, or read from their file again.")
	each(func(e *entry) *tally.Counter { return &e.failures }, "token_key_fetches_failed_total", "Those of them that failed, so that the last keys stay.")
	each(func(e *entry) *tally.Counter { return &e.dropped }, "token_key_waits_dropped_total", "Tokens that could not wait for a key of an issuer because too many did. Their clients come back.")
	for _, name := range k.names {
		e := k.entries[name]
		set.Func(tally.KindGauge, "token_keys", "Keys of an issuer that fit its algorithms.", func() float64 {
			if keys := e.keys.Load(); keys != nil {
				return float64(len(*keys))
			}
			return 0
		}, tally.Label{Name: "issuer", Value: name})
	}
	k.log.Metrics(&set, "token")
	return &set
}
