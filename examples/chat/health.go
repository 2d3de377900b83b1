package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// health requests the page of the instance with the same settings, which serves it once it is ready. It is the health
// check of an image without a shell: chat --health.
func health(ctx context.Context, s settings) error {
	_, port, err := net.SplitHostPort(s.Page)
	if err != nil {
		return fmt.Errorf("PAGE_LISTEN %q is no address such as :3010: %w", s.Page, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("localhost", port)+"/",
		nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy from the environment: it is this machine
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the page answers %s", response.Status)
	}
	return nil
}
