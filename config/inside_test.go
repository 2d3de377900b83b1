package config

import "maps"

// What describes the NATS inside.
func init() {
	maps.Copy(badConfigurations, map[string]bad{
		"a file of nats-server beside what it replaces": {flavour: FlavourEmbedded, file: "embedded: {server_config: FILE, listen: \":4222\", jetstream: {dir: x}}\n", want: []string{
			"FILE:1: embedded.listen: does nothing beside embedded.server_config, whose file says it (listen, jetstream); remove one of them",
			"FILE:1: embedded.jetstream.dir: does nothing beside embedded.server_config",
		}},
		"no file of nats-server": {flavour: FlavourEmbedded, args: []string{"--embedded.server_config=/no/such.conf"}, want: []string{"--embedded.server_config: "}},
		"credentials for nothing": {flavour: FlavourEmbedded, environ: []string{"PARTYLINE_NATS_TOKEN=x"}, want: []string{
			"PARTYLINE_NATS_TOKEN: needs embedded.server_config: without it the NATS inside asks for no credentials; remove it",
		}},
	})
}
