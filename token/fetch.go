package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// fetchTimeout bounds a fetch, from the name's address to the last byte.
	fetchTimeout = 5 * time.Second
	// maxAnswer is the size of the largest JWK Set, in bytes.
	maxAnswer = 1 << 20
	// refreshEvery is the time from one fetch to the next. Less a random tenth: edges that start together must not ask
	// together.
	refreshEvery = time.Hour
	// rereadEvery is the same for a file.
	rereadEvery = time.Minute
	// spacing is the least time between two fetches because of tokens with unknown keys.
	spacing = 10 * time.Second
	// firstRetry is the time to the second fetch while there are no keys; it doubles up to spacing.
	firstRetry = time.Second
)

// run reads the keys of an issuer until ctx ends.
func (e *entry) run(ctx context.Context) {
	begun := time.Now()
	due := begun
	if e.JWKSURL == "" {
		due = begun.Add(rereadEvery) // Open has read the file
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
			if soon := begun.Add(spacing); e.keys.Load() != nil && soon.Before(due) {
				due = soon
				timer.Reset(time.Until(due))
			}
			continue
		case <-timer.C:
		}
		begun = time.Now()
		switch ok, waiting := e.refresh(ctx); {
		case ok && e.JWKSURL == "":
			due = begun.Add(rereadEvery)
		case ok:
			due = begun.Add(refreshEvery - rand.N(refreshEvery/10))
		case e.keys.Load() == nil:
			due = begun.Add(retry + rand.N(retry/4))
			retry = min(2*retry, spacing)
		case waiting:
			due = begun.Add(spacing)
		default:
			due = begun.Add(rereadEvery)
		}
		timer.Reset(time.Until(due))
	}
}

// refresh reads the keys once. If that fails the last keys stay, and tokens wait on: waiting reports whether any does.
func (e *entry) refresh(ctx context.Context) (ok, waiting bool) {
	served := e.take(map[*waiter]struct{}{})
	set, err := e.read(ctx)
	e.fetches.Inc()
	if err != nil {
		if ctx.Err() == nil {
			e.failing = true
			e.failures.Inc()
			e.ring.log.Warn("keys of tokens cannot be read; the last ones stay", e.Name, err)
		}
		return false, e.giveBack(served)
	}
	if old := e.keys.Swap(&set); old == nil || e.failing {
		e.ring.log.Log(slog.LevelInfo, "keys of tokens read", e.Name, "", "issuer", e.Name, "keys", len(set))
	}
	e.failing = false
	if len(set) == 0 {
		e.ring.log.Warn("no token is accepted", e.Name, errors.New("the issuer has no key that fits the algorithms"))
	}
	e.ring.running.Go(func() {
		for w := range served {
			if w.stop() {
				w.then(true)
			}
		}
	})
	return true, false
}

// read reads the keys from where they are.
func (e *entry) read(ctx context.Context) (keySet, error) {
	if e.JWKSURL == "" {
		_, path := e.file()
		return e.readFile(path)
	}
	data, err := e.fetch(ctx)
	if err != nil {
		return nil, err
	}
	return e.parse(data)
}

// fetch returns what jwks_url answers. Its error does not repeat the URL, whose query may be secret.
func (e *entry) fetch(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.JWKSURL, nil)
	if err != nil {
		return nil, errors.New("jwks_url is not a URL")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "partyline")
	response, err := e.ring.client.Do(request)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, fmt.Errorf("jwks_url cannot be fetched: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	switch status := response.StatusCode; {
	case status >= 300 && status < 400:
		return nil, fmt.Errorf("jwks_url answers with status %d, and redirects are not followed; write the URL where the keys are", status)
	case status != http.StatusOK:
		return nil, fmt.Errorf("jwks_url answers with status %d", status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer of jwks_url ends early: %w", err)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("the answer of jwks_url is longer than %d bytes", maxAnswer)
	}
	return data, nil
}

// newClient returns the client for jwks_url. It uses no proxy of the environment, which could see and change keys of
// http://localhost, and follows no redirect, which could lead to http. It keeps no connections.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			DialContext:            (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			TLSHandshakeTimeout:    fetchTimeout,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       fetchTimeout,
	}
}
