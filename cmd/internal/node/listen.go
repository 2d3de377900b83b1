package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"partyline/config"
)

// listen opens the listener of a key.
func listen(key, address string) (net.Listener, error) {
	// Heartbeats find clients that are gone, and idle requests time out: no probes of the system, which cost each connection
	// four calls.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, listenError(key, address, err)
	}
	return l, nil
}

// listenError says why an address cannot be listened on and which key to change.
func listenError(key, address string, err error) error {
	remedy := fmt.Sprintf("choose another address with --%s (%s in the environment, %s in the file)", key, config.Variable(key), key)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another program: stop that program, or %s: %w", key, address, remedy, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: this user may not listen on %s (ports below 1024 are often kept for root): %s: %w", key, address, remedy, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is no address of this machine: %s: %w", key, address, remedy, err)
	}
	return fmt.Errorf("%s: cannot listen on %s: %s: %w", key, address, remedy, err)
}
