package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"partyline/config"
	"partyline/internal/tally"
	"partyline/internal/throttle"
)

const (
	// reloadEvery is how often the files of the certificate are read. They are small, and reading them finds every way
	// in which files are replaced, also the swapped links of Kubernetes.
	reloadEvery = 5 * time.Second
	// expiryWarning is how long before the certificate's end the log says so, once a minute.
	expiryWarning = 24 * time.Hour
)

// certificate is what the edge shows its clients. It follows its files.
type certificate struct {
	files      config.TLS
	log        *slog.Logger
	complaints *throttle.Logger
	current    atomic.Pointer[tls.Certificate]
	reloads    tally.Counter
	failures   tally.Counter

	used, seen [2][]byte // owned by watch once it runs: the contents of the files as they are used, and as last read
}

// newCertificate reads the files.
func newCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log, complaints: throttle.New(log)}
	read, err := c.read()
	if err == nil {
		err = c.use(read)
	}
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	return c, nil
}

// config returns the configuration of a server that shows the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// read returns the contents of the files.
func (c *certificate) read() (contents [2][]byte, err error) {
	for i, file := range []string{c.files.Cert, c.files.Key} {
		if contents[i], err = os.ReadFile(file); err != nil {
			return contents, err
		}
	}
	return contents, nil
}

// use shows a certificate from now on, unless the contents are none.
func (c *certificate) use(contents [2][]byte) error {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	c.used = contents
	return nil
}

// watch reads the files again and again until ctx ends.
func (c *certificate) watch(ctx context.Context) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look uses the files if they have changed. If they are no pair, the certificate stays. That is logged when two looks
// found the same, since one may come between the writing of the two files.
func (c *certificate) look() {
	read, err := c.read()
	if err == nil && !equal(read, c.used) {
		if err = c.use(read); err == nil {
			c.reloads.Inc()
			c.log.Info("the certificate was read again", "tls.cert", c.files.Cert, "expires", c.expiry())
		}
	}
	if err != nil && equal(read, c.seen) {
		c.failures.Inc()
		c.complaints.Log(slog.LevelError, "the certificate cannot be read again, the one before stays", "", err.Error(),
			"tls.cert", c.files.Cert, "tls.key", c.files.Key, "error", err, "expires", c.expiry())
	}
	c.seen = read
	if left := time.Until(c.expiry()); left < expiryWarning {
		c.complaints.Log(slog.LevelWarn, "the certificate expires", "", "", "tls.cert", c.files.Cert, "expires", c.expiry())
	}
}

func equal(a, b [2][]byte) bool { return bytes.Equal(a[0], b[0]) && bytes.Equal(a[1], b[1]) }

// expiry returns when the certificate ends.
func (c *certificate) expiry() time.Time { return c.current.Load().Leaf.NotAfter }

// metrics returns what is counted of the certificate.
func (c *certificate) metrics() *tally.Set {
	set := &tally.Set{}
	set.Func(tally.KindGauge, "tls_certificate_expiry_seconds", "When the certificate that clients see expires, in Unix time.",
		func() float64 { return float64(c.expiry().Unix()) })
	set.Counter(&c.reloads, "tls_reloads_total", "Times that a new certificate was read from tls.cert and tls.key.")
	set.Counter(&c.failures, "tls_reload_failures_total",
		"Times that tls.cert and tls.key could not be read or did not fit, so that the certificate before stayed.")
	c.complaints.Metrics(set, "tls")
	return set
}
