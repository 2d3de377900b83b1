// Command gateway lets those talk with Socket.IO clients who cannot hold a NATS connection: over HTTP.
package main

import (
	"os"

	"partyline/cmd/internal/gateways"
)

func main() { os.Exit(gateways.Main()) }
