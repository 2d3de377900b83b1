// Command edge holds the connections of Socket.IO clients and lets them talk over a NATS that runs elsewhere.
package main

import (
	"os"

	"partyline/cmd/internal/node"
	"partyline/config"
)

func main() { os.Exit(node.Main(node.Flavour{Name: config.FlavourEdge})) }
