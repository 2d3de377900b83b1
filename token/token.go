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
	"maps"
	"net/http"
	"reflect"
	"slices"
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
	now     atomic.Pointer[map[string]*entry] // by name; the map is static
	foreign results                           // of tokens without a known issuer
	client  *http.Client
	log     *throttle.Logger
	life    context.Context // of what reads keys
	stop    context.CancelFunc
	running sync.WaitGroup

	maxWaiting int // static

	mu   sync.Mutex
	seen map[string]*counts // guarded by mu: by name, of all issuers that there were
}

// entry is an issuer, and its keys.
type entry struct {
	Issuer
	*counts
	ring      *Keyring
	validator *jwt.Validator
	keys      atomic.Pointer[keySet] // nil: there were none yet
	failing   bool                   // of run: the last fetch failed
	wake      chan struct{}          // a token waits for a fetch
	stop      context.CancelFunc     // ends run; static once that runs

	mu           sync.Mutex
	waiting      map[*waiter]struct{} // guarded by mu: for the next fetch; nil after close
	waitingBytes int                  // guarded by mu: of waiting
}

// counts is what is counted of the issuers of a name.
type counts struct {
	checked  results
	fetches  tally.Counter
	failures tally.Counter
	dropped  tally.Counter // tokens that could not wait, because too many did
}

// Open returns a Keyring with the keys of issuers. It reads their files, and begins to fetch the keys of the others
// without waiting for them. It returns an error if an issuer has faults, or a name is used twice.
func Open(issuers []Issuer, o Options) (*Keyring, error) {
	k := &Keyring{client: newClient(o.transport), maxWaiting: maxWaiting, seen: make(map[string]*counts)}
	k.now.Store(&map[string]*entry{})
	k.log = throttle.New(cmp.Or(o.Log, slog.New(slog.DiscardHandler)))
	k.life, k.stop = context.WithCancel(context.Background())
	use, err := k.Prepare(issuers)
	if err != nil {
		k.stop()
		return nil, err
	}
	use()
	return k, nil
}

// Prepare reads the files of other issuers, with the errors of Open. use puts them in the place of those that there are:
// an issuer that stays keeps its keys, and tokens of one that is gone are refused from then on. The calls of Prepare and
// use must not overlap those for further issuers, nor Close.
func (k *Keyring) Prepare(issuers []Issuer) (use func(), err error) {
	before, next := *k.now.Load(), map[string]*entry{}
	read := map[*entry]*keySet{}
	for _, i := range issuers {
		if faults := i.Faults(); len(faults) > 0 {
			return nil, fmt.Errorf("tokens: %s: %s: %s", i.Name, faults[0].Key, faults[0].Problem)
		}
		if next[i.Name] != nil {
			return nil, fmt.Errorf("tokens: the name %s is used twice", i.Name)
		}
		e := before[i.Name]
		if e == nil || !reflect.DeepEqual(e.Issuer, i) {
			e = k.newEntry(i, e)
		}
		if key, path := i.file(); path != "" {
			set, err := i.readFile(path)
			if err != nil {
				return nil, fmt.Errorf("tokens: %s: %s: %w", i.Name, key, err)
			}
			read[e] = &set
		}
		next[i.Name] = e
	}
	return func() {
		for e, set := range read {
			e.keys.Store(set)
		}
		k.use(before, next)
	}, nil
}

// newEntry makes the entry of an issuer, in the place of another or nil.
func (k *Keyring) newEntry(i Issuer, before *entry) *entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &entry{Issuer: i, counts: k.seen[i.Name], ring: k, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}}
	if e.counts == nil {
		e.counts = &counts{}
		k.seen[i.Name] = e.counts
	}
	e.validator = jwt.NewValidator(jwt.WithLeeway(i.Leeway), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithIssuer(i.Issuer), jwt.WithAudience(i.Audience))
	if before != nil && before.JWKSURL == i.JWKSURL && slices.Equal(before.Algorithms, i.Algorithms) {
		e.keys.Store(before.keys.Load()) // until they are fetched
	}
	return e
}

// use puts entries in the place of others, and starts and stops what reads their keys. Tokens that wait for an issuer
// that is gone are judged again.
func (k *Keyring) use(before, next map[string]*entry) {
	for name, e := range next {
		if before[name] != e {
			ctx, stop := context.WithCancel(k.life)
			e.stop = stop
			k.running.Go(func() { e.run(ctx) })
		}
	}
	k.now.Store(&next)
	for name, e := range before {
		if next[name] == e {
			continue
		}
		e.stop()
		for w := range e.take(nil) {
			w.again()
		}
	}
}

// later runs fn on another goroutine, unless the keyring is closed.
func (k *Keyring) later(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life.Err() == nil {
		k.running.Go(fn)
	}
}

// Close ends what Open started, and waits for it.
func (k *Keyring) Close() {
	k.mu.Lock()
	k.stop()
	k.mu.Unlock()
	for _, e := range *k.now.Load() {
		for w := range e.take(nil) {
			w.stop()
		}
	}
	k.running.Wait()
}

// results counts tokens by what Check said: first those that are good, then those with each of refusals.
type results [1 + refusalCount]tally.Counter

// Metrics returns the metrics of the keyring: none before it has had an issuer.
func (k *Keyring) Metrics() *tally.Set {
	var set tally.Set
	set.Growing(k.list)
	return &set
}

func (k *Keyring) list(set *tally.Set) {
	k.mu.Lock()
	defer k.mu.Unlock()
	names := slices.Sorted(maps.Keys(k.seen))
	if len(names) == 0 {
		return
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
	for _, name := range names {
		checked(name, &k.seen[name].checked)
	}
	each := func(of func(c *counts) *tally.Counter, name, help string) {
		for _, issuer := range names {
			counter(of(k.seen[issuer]), name, help, tally.Label{Name: "issuer", Value: issuer})
		}
	}
	each(func(c *counts) *tally.Counter { return &c.fetches }, "token_key_fetches_total", "Times that the keys of an issuer were fetched, or read from their file again.")
	each(func(c *counts) *tally.Counter { return &c.failures }, "token_key_fetches_failed_total", "Those of them that failed, so that the last keys stay.")
	each(func(c *counts) *tally.Counter { return &c.dropped }, "token_key_waits_dropped_total", "Tokens that could not wait for a key of an issuer because too many did. Their clients come back.")
	for _, name := range names {
		set.Func(tally.KindGauge, "token_keys", "Keys of an issuer that fit its algorithms.", func() float64 {
			if e := (*k.now.Load())[name]; e != nil && e.keys.Load() != nil {
				return float64(len(*e.keys.Load()))
			}
			return 0
		}, tally.Label{Name: "issuer", Value: name})
	}
	k.log.Metrics(set, "token")
}
