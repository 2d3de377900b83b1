package config

import "maps"

func init() { maps.Copy(badConfigurations, badGateways) }

// badGateways are the bad configurations of gateways, and of programs that are none.
var badGateways = map[string]bad{
	"a gateway's sections at an edge": {file: "hooks: []\napi: {keys: []}\nui: {readonly: false}\n", environ: []string{"PARTYLINE_GATEWAY_LISTEN=:1"}, want: []string{
		"FILE:1: hooks: unknown key: only cmd/gateway and cmd/embedded know it: cmd/edge makes no requests of its own; remove it, or run cmd/gateway or cmd/embedded",
		"FILE:2: api: unknown key: only cmd/gateway and cmd/embedded know it",
		"FILE:3: ui: unknown key: only cmd/gateway and cmd/embedded know it",
	}},
	"an edge's sections at a gateway": {flavour: FlavourGateway, file: "namespaces: {/: {}}\nengine: {ping_timeout: 1s}\n", want: []string{
		"FILE:1: namespaces: unknown key: only cmd/edge and cmd/embedded know it: clients connect to edges, not to cmd/gateway; remove it, or run cmd/edge or cmd/embedded",
		"FILE:2: engine: unknown key: only cmd/edge and cmd/embedded know it",
	}},
	"a gateway without work": {flavour: FlavourGateway, file: "gateway: {listen: \"\"}\n", want: []string{"FILE:1: gateway.listen: is empty, and there are no hooks"}},
	"a gateway for others": {flavour: FlavourEmbedded, file: "namespaces: {/: {}}\ngateway: {listen: \":3080\"}\n", want: []string{
		"FILE:2: gateway.listen: \":3080\" is not a loopback address; run cmd/gateway to serve the HTTP API to others",
	}},
	"a bare hook": {flavour: FlavourGateway, file: "hooks: [{}]\n", want: []string{
		"FILE:1: hooks[0]: has no namespaces", "FILE:1: hooks[0]: has no events", "FILE:1: hooks[0]: has no url", "FILE:1: hooks[0]: has no secrets_file",
	}},
	"a bad hook": {flavour: FlavourGateway, file: "hooks:\n  - {namespaces: [chat], events: [\"\"], url: \"ftp://x\", urls: [\"http://u:s3cret@h\"], secrets_file: FILE, timeout: 1ms, concurrency: 0, retries: 1}\n", want: []string{
		"FILE:2: hooks[0]: namespaces[0]: a namespace begins with a slash; write \"/chat\"",
		"FILE:2: hooks[0]: events[0]: is empty; name an event, or a pattern such as order.*",
		"FILE:2: hooks[0]: url: \"ftp://x\" is no URL; write one such as https://app.example/partyline",
		"FILE:2: hooks[0]: urls[0]: \"http://u:hidden@h\" has a user, which is never sent; remove it",
		"FILE:2: hooks[0]: secrets_file: FILE: line 1 is no secret; write whsec_ and the base64 of 24 to 64 random bytes",
		"FILE:2: hooks[0]: timeout: 1ms is too short; write at least 10ms",
		"FILE:2: hooks[0]: concurrency: 0 is too few; write at least 1",
		"FILE:2: hooks[0]: unknown key \"retries\"",
	}},
	"the Admin UI's namespace": {flavour: FlavourGateway, file: "hooks:\n  - {namespaces: [/admin], events: [x], url: \"http://h\", secrets_file: FILE}\napi:\n  keys:\n    - {name: a, hash: x, namespaces: [\"/*\", /admin]}\n", want: []string{
		"FILE:2: hooks[0]: namespaces[0]: \"/admin\" is the Admin UI's, which no hook and no key reaches; give your own namespace another name",
		"FILE:2: hooks[0]: secrets_file: FILE: line 1 is no secret",
		"FILE:5: api.keys[0]: hash: is no hash of a key",
		"FILE:5: api.keys[0]: namespaces[1]: \"/admin\" is the Admin UI's",
	}},
	"bad keys of the API": {flavour: FlavourGateway, environ: []string{
		`PARTYLINE_API_KEYS=[{"name":"a","hash":"s3cret","namespaces":["/a"],"verbs":["fly"],"may":["x"]},{"name":"b"}]`,
	}, want: []string{
		"PARTYLINE_API_KEYS: api.keys[0]: hash: is no hash of a key; the command key prints it: sha256: and 64 hexadecimal digits",
		"PARTYLINE_API_KEYS: api.keys[0]: may[0]: \"x\" is not one of all, socket, user, read",
		"PARTYLINE_API_KEYS: api.keys[0]: verbs[0]: \"fly\" is not one of emit, broadcast",
		"PARTYLINE_API_KEYS: api.keys[1]: needs a name, a hash and namespaces; the command key makes the first two",
	}},
}
