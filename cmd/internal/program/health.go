package program

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// healthTimeout bounds --health.
const healthTimeout = 2 * time.Second

// health requests /healthz of the program that runs with the same configuration. It returns a sentence for a person,
// or an error that is one.
func health(ctx context.Context, adminListen string) (string, error) {
	page, err := healthURL(adminListen)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", fmt.Errorf("unhealthy: %w", err)
	}
	// No proxy from the environment: the page is on this machine.
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("unhealthy: %s does not answer: %w; is the program running, with the same admin.listen?",
			page, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("unhealthy: %s answers %s", page, response.Status)
	}
	return fmt.Sprintf("healthy: %s answers %s", page, response.Status), nil
}

// healthURL returns the URL of /healthz from this machine: an unspecified address becomes loopback.
func healthURL(adminListen string) (string, error) {
	host, port, err := net.SplitHostPort(adminListen)
	if err != nil {
		return "", fmt.Errorf("unhealthy: admin.listen: %w", err)
	}
	if port == "0" {
		return "", fmt.Errorf("unhealthy: admin.listen is %s, and the port is unknown; --health needs a fixed one",
			adminListen)
	}
	if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
		host = "127.0.0.1"
		if address.Is6() {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port) + "/healthz", nil
}
