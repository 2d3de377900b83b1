package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxAnswer is how many bytes an answer may have.
	maxAnswer = 1 << 20
	// idleTimeout is for a connection between two requests. It is below that of common servers (Node.js: 5 s), which
	// would otherwise close a connection while a request that cannot be repeated is on its way.
	idleTimeout = 4 * time.Second
	// mostRetryAfter bounds how long an endpoint can keep requests away.
	mostRetryAfter = 5 * time.Minute
)

// result is how one request ended.
type result int

// The results.
const (
	answered    result = iota
	unreachable        // no connection
	timedOut
	broken     // the connection ended before the answer
	busy       // 429 or 503
	failing    // another 5xx
	refused    // 4xx
	redirected // 3xx, which is not followed
	badAnswer  // not what the documentation says
	stopped    // the gateway was closed meanwhile, or has lost the socket or NATS
	results
)

var resultNames = [results]string{"answered", "unreachable", "timeout", "broken", "busy", "failing", "refused", "redirect", "bad answer", "stopped"}

func (r result) String() string { return resultNames[r] }

// mayRepeat reports whether another try may end otherwise.
func (r result) mayRepeat() bool { return r >= unreachable && r <= failing }

// failure is why there is no answer.
type failure struct {
	result result
	unsent bool // the endpoint has not received the request
	err    error

	isOfOne bool          // it is about this request alone: the endpoint answers others
	after   time.Duration // of it: how long the endpoint wants it not again
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

var (
	errBusy     = errors.New("the endpoint wants no requests for longer than the event may wait")
	errCrowded  = errors.New("other requests of the hook took longer than a connect may wait: give it more concurrency")
	errTooLarge = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	errSwitched = errors.New("the endpoint answers 101 and switches the protocol, which is no answer")
	errNotOwned = errors.New("this gateway was cut off from NATS, and another one has the socket")
	errRedirect = errors.New("the endpoint redirects, which is not followed: configure the URL that answers")
)

// caller makes the requests of one hook.
type caller struct {
	Hook
	pool      *pool
	transport *http.Transport
	slots     chan struct{} // one for each request under way
	stats     *stats
}

func newCaller(h Hook, s *stats) *caller {
	dialer := &net.Dialer{Timeout: h.Timeout, Control: control(h.DenyPrivate)}
	return &caller{
		Hook: h, pool: newPool(h.URLs), slots: make(chan struct{}, h.Concurrency), stats: s,
		transport: &http.Transport{ // without Proxy: the environment has none of its business
			DialContext: dialer.DialContext, TLSHandshakeTimeout: h.Timeout, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost: h.Concurrency, MaxIdleConnsPerHost: h.Concurrency, IdleConnTimeout: idleTimeout,
		},
	}
}

// try makes one request. The failure is nil if there is an answer.
func (c *caller) try(ctx context.Context, u *endpoint, id string, body []byte, d *delivery) (*answer, *failure) {
	if f := c.slot(ctx, d); f != nil {
		return nil, f
	}
	defer func() { <-c.slots }()
	d.at = max(d.at+1, time.Now().Unix())
	a, f, retryAfter := c.post(ctx, u.url, id, body, d.at)
	if f == nil {
		f = a.check(d.isConnect)
	}
	if f == nil {
		c.stats.requests[answered].Inc()
		u.works()
		return a, nil
	}
	c.stats.requests[f.result].Inc()
	switch {
	case f.isOfOne: // others need not wait
		f.after = retryAfter
	case f.result.mayRepeat():
		u.failed(time.Now(), retryAfter)
	}
	return nil, f
}

// slot waits for a slot. A connect waits no longer than it may: its client does not wait, either. Events wait as long as
// it takes, and have as much more time for their tries.
func (c *caller) slot(ctx context.Context, d *delivery) *failure {
	bound, began := ctx, time.Now()
	if d.isConnect {
		var cancel context.CancelFunc
		bound, cancel = context.WithDeadline(ctx, d.end)
		defer cancel()
	}
	select {
	case c.slots <- struct{}{}:
	case <-bound.Done():
		if ctx.Err() == nil {
			return &failure{result: busy, unsent: true, err: errCrowded}
		}
		return &failure{result: stopped, unsent: true, err: context.Cause(ctx)}
	}
	if !d.isConnect {
		d.end = d.end.Add(time.Since(began))
	}
	return nil
}

// post makes one request, signed at some Unix time, and reads the answer.
func (c *caller) post(ctx context.Context, url, id string, body []byte, at int64) (a *answer, f *failure, retryAfter time.Duration) {
	bound, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(bound, trace), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, &failure{result: unreachable, unsent: true, err: err}, 0
	}
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "partyline-gateway")
	c.sign(r.Header, id, body, strconv.FormatInt(at, 10))
	response, err := c.transport.RoundTrip(r) // follows no redirects, and keeps no cookies
	if err != nil {
		return nil, c.because(ctx, bound, err, !sent.Load()), 0
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols { // neither bound nor the transport would end reading from it
		return nil, &failure{result: badAnswer, err: errSwitched}, 0
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch status := response.StatusCode; {
	case status >= 300 && status < 400:
		return nil, &failure{result: redirected, err: errRedirect}, 0
	case err != nil:
		return nil, c.because(ctx, bound, err, false), 0
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		f := &failure{result: busy, err: fmt.Errorf("the endpoint answers %s", response.Status), isOfOne: status == http.StatusTooManyRequests}
		return nil, f, retryAfterOf(response.Header, time.Now())
	case status >= 500:
		return nil, &failure{result: failing, err: fmt.Errorf("the endpoint answers %s", response.Status)}, 0
	case len(text) > maxAnswer:
		return nil, &failure{result: badAnswer, err: errTooLarge}, 0
	}
	return &answer{status: response.StatusCode, kind: response.Header.Get("Content-Type"), body: text}, nil, 0
}

// because returns why a request has no answer.
func (c *caller) because(ctx, bound context.Context, err error, unsent bool) *failure {
	switch {
	case ctx.Err() != nil:
		return &failure{result: stopped, unsent: unsent, err: context.Cause(ctx)}
	case bound.Err() != nil:
		return &failure{result: timedOut, unsent: unsent, err: fmt.Errorf("no answer in %s: %w", c.Timeout, err)}
	case unsent:
		return &failure{result: unreachable, unsent: true, err: err}
	}
	return &failure{result: broken, err: err}
}

// sign adds the headers of Standard Webhooks: one signature for each secret.
func (c *caller) sign(header http.Header, id string, body []byte, at string) {
	signatures := ""
	for _, secret := range c.Secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
		if signatures != "" {
			signatures += " "
		}
		signatures += "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", at)
	header.Set("webhook-signature", signatures)
}

// retryAfterOf reads Retry-After: seconds, or a date.
func retryAfterOf(header http.Header, now time.Time) (wait time.Duration) {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) { // then it is the largest
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), mostRetryAfter)
}

// pool is the endpoints of a hook.
type pool struct {
	urls []*endpoint
	turn atomic.Uint64
}

// endpoint is one URL.
type endpoint struct {
	url string

	mu       sync.Mutex
	failures int       // guarded by mu: since it answered last
	until    time.Time // guarded by mu: others are preferred
	isClosed bool      // guarded by mu: nothing is sent until then, because it asked for that
}

func newPool(urls []string) *pool {
	p := &pool{}
	for _, u := range urls {
		p.urls = append(p.urls, &endpoint{url: u})
	}
	return p
}

// next returns the endpoint whose turn it is among those that answer. If none does, it is the one that may answer
// first, and how long it wants no request.
func (p *pool) next(now time.Time) (u *endpoint, wait time.Duration) {
	turn := int(p.turn.Add(1) % uint64(len(p.urls)))
	var first time.Time
	for i := range p.urls {
		each := p.urls[(turn+i)%len(p.urls)]
		each.mu.Lock()
		until, isClosed := each.until, each.isClosed
		each.mu.Unlock()
		if !until.After(now) {
			return each, 0
		}
		if u == nil || until.Before(first) {
			u, first, wait = each, until, 0
			if isClosed {
				wait = until.Sub(now)
			}
		}
	}
	return u, wait
}

// works notes that an endpoint has answered.
func (u *endpoint) works() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failures, u.until, u.isClosed = 0, time.Time{}, false
}

// failed notes that an endpoint has not. retryAfter is how long it wants no request; 0: it did not say.
func (u *endpoint) failed(now time.Time, retryAfter time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failures++
	u.isClosed = retryAfter > 0
	u.until = now.Add(max(retryAfter, pause(u.failures)))
}
