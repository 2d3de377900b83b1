// Package proxytest puts a proxy between a test's programs and NATS. It can be cut and repaired.
package proxytest

import (
	"context"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// Leaks are the goroutines that goleak must ignore in tests with a proxy. A link of toxiproxy that cannot write leaks
// what its other goroutines queued for it (link.go, write).
var Leaks = []goleak.Option{
	goleak.IgnoreTopFunction("github.com/Shopify/toxiproxy/v2/toxics.(*NoopToxic).Pipe"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

// Proxy is a path to a NATS server.
type Proxy struct {
	*toxiproxy.Proxy
	t testing.TB
}

// Start runs a proxy in front of a NATS server until the test ends.
func Start(t testing.TB, url string) *Proxy {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have no logger of their own
	host := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{toxiproxy.NewProxy(host, "nats", "127.0.0.1:0", strings.TrimPrefix(url, "nats://")), t}
	p.Mend()
	t.Cleanup(func() {
		p.Heal()
		p.Stop()
	})
	return p
}

// URL returns the URL of the NATS server through the proxy.
func (p *Proxy) URL() string { return "nats://" + p.Listen }

// Mend allows connections again after Stop.
func (p *Proxy) Mend() {
	p.t.Helper()
	if err := p.Proxy.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// Heal removes all toxics.
func (p *Proxy) Heal() { p.Toxics.ResetToxics(context.Background()) }
