// Command edge connects Socket.IO clients with NATS, which runs elsewhere.
package main

import (
	"os"

	"partyline/cmd/internal/node"
	"partyline/config"
)

func main() { os.Exit(node.Main(node.Flavour{Name: config.FlavourEdge})) }
