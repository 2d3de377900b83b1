// Command embedded is an edge with a NATS server inside, for development and small sites.
package main

import (
	"log/slog"
	"os"

	"partyline/cmd/internal/gateways"
	"partyline/cmd/internal/node"
	"partyline/config"
	"partyline/internal/natsd"
	"partyline/web/tail"
)

func main() {
	os.Exit(node.Main(node.Flavour{
		Name: config.FlavourEmbedded, StartNATS: startNATS, OpenGateway: openGateway, OpenTail: openTail, Check: gateways.Check,
		Commands: gateways.Commands,
	}))
}

func openGateway(c config.Config, nats node.NATS, log *slog.Logger) (node.Gateway, error) {
	return gateways.Open(c, nats, log)
}

func openTail(c config.Config, nats node.NATS, log *slog.Logger) node.Tail {
	return tail.New(tail.Settings{NATS: nats, Prefix: c.NATS.Prefix, Log: log})
}

func startNATS(c config.Config, log *slog.Logger) (node.NATS, error) {
	server, err := natsd.Inside(c, log)
	if err != nil {
		return nil, err // not a node.NATS that holds nil
	}
	return server, nil
}
