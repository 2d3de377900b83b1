package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agext/levenshtein"
)

// bad is a configuration with, for each of its faults, a part of the error line. FILE stands for the path of the file.
type bad struct {
	flavour Flavour
	file    string
	args    []string
	environ []string
	want    []string
}

var badConfigurations = map[string]bad{
	"unknown keys": {file: "listn: :1\nengine:\n  ping_intervall: 5s\nengin: {ping_timeout: 1s}\nping_timeout: 3s\nquite_other: 1\n", want: []string{
		"FILE:1: listn: unknown key; did you mean listen?",
		"FILE:3: engine.ping_intervall: unknown key; did you mean engine.ping_interval?",
		"FILE:4: engin: unknown key; did you mean engine?",
		"FILE:5: ping_timeout: unknown key; did you mean engine.ping_timeout?",
		"FILE:6: quite_other: unknown key",
	}},
	"the Admin UI's edges": {flavour: FlavourGateway, file: "ui: {url: \"https://chat.example/path\"}\n", want: []string{
		`FILE:1: ui.url: "https://chat.example/path" has more than a host and a port; write where the edges are, such as https://chat.example`,
	}},
	"unknown flags": {args: []string{"--engine.ping-interval", "5s", "--nats.tokn=s3cret", "--helth", "-listen", ":1", "--zzz", "--namespaces={}", "--prefix=a", "stray", "--listen"}, want: []string{
		"--engine.ping-interval: unknown flag; did you mean --engine.ping_interval?",
		"--nats.tokn: unknown flag; did you mean --nats.token?",
		"--helth: unknown flag; did you mean --health?",
		"-listen: unknown flag; did you mean --listen?",
		"--zzz: unknown flag; --help lists all",
		"--namespaces: namespaces cannot be a flag; put them in the file (--config), or as JSON in PARTYLINE_NAMESPACES",
		"--prefix: unknown flag; did you mean --nats.prefix?",
		"--listen: needs a value",
		`command line: unexpected argument "stray"`,
	}},
	"letters": {args: []string{"-health", "-hx", "-"}, want: []string{
		"-health: unknown flag; did you mean --health?",
		"-hx: unknown flag",
		`command line: unexpected argument "-"`,
	}},
	"keys instead of a list": {file: "engine: {transports: {a: b}}\n", want: []string{"FILE:1: engine.transports: must be a list such as [a, b], not keys"}},
	"all sources at once": {
		file: "engine: {ping_interval: 5}\n", environ: []string{"PARTYLINE_ENGINE_MAX_PAYLOAD=1e6"}, args: []string{"--page=perhaps", "--connect_timeout=0s"},
		want: []string{
			`--page: "perhaps" is neither true nor false`,
			`FILE:1: engine.ping_interval: "5" is not a duration; write a number with its unit, such as 25s or 1m30s`,
			`PARTYLINE_ENGINE_MAX_PAYLOAD: "1e6" is not a whole number; write it in digits`,
			`--connect_timeout: 0s is too short; write at least 1ms`,
		}},
	"shapes in the file": {file: "listen: [a]\nadmin: x\npage:\ncors: {origins: {a: b}}\nengine: {transports: [[a]]}\nlog: {level: info}\nlog: {level: info}\nnats: {prefix: a}\nnats.prefix: b\n", want: []string{
		"FILE:1: listen: must be a single value, not a list",
		"FILE:2: admin: it must hold keys (key: value), not a single value",
		"FILE:3: page: has no value; give one, or remove the key for the default",
		"FILE:4: cors.origins: must be a list such as [a, b], not keys",
		"FILE:5: engine.transports: must be a list of texts, and holds a list",
		"FILE:7: log: is given twice, first in line 6; remove one",
		"FILE:9: nats.prefix: is given twice; remove one",
	}},
	"no mapping":    {file: "- a\n", want: []string{"FILE:1: the file must hold keys (key: value), not a list"}},
	"no YAML":       {file: "listen: [\n", want: []string{"FILE: is not YAML: line 1: "}},
	"two documents": {file: "listen: :1\n---\nlisten: :2\n", want: []string{"FILE: holds more than one YAML document"}},
	"no file":       {args: []string{"--config", "/nowhere/x.yaml"}, want: []string{"--config: open /nowhere/x.yaml: no such file or directory"}},
	"empty path":    {args: []string{"--config="}, want: []string{"--config: needs the path of a YAML file"}},

	"addresses": {args: []string{"--listen=3000", "--admin.listen=127.0.0.1:70000"}, want: []string{
		`--listen: "3000" is not an address to listen on; write host:port`,
		`--admin.listen: "127.0.0.1:70000" has no good port; write a number from 0`,
	}},
	"addresses of hosts that cannot be": {args: []string{"--listen=-1e-1:3001", "--admin.listen=a..b:3001"}, want: []string{
		`--listen: "-1e-1:3001" has no good host`, `--admin.listen: "a..b:3001" has no good host`,
	}},
	"addresses, more": {args: []string{"--listen=a b:3000", "--admin.listen=:http"}, want: []string{
		`--listen: "a b:3000" has no good host`,
		`--admin.listen: ":http" has no good port`,
	}},
	"admin pages for anybody": {args: []string{"--admin.listen=:3001"}, want: []string{
		`--admin.listen: ":3001" is not a loopback address, and the pages there ask for no token: anybody could read them and drain this edge; set admin.token,`,
	}},
	"admin pages for anybody, in the file": {flavour: FlavourEmbedded, file: "admin: {listen: 10.0.0.7:3001, hosts: [edge-1]}\n", want: []string{
		`FILE:1: admin.listen: "10.0.0.7:3001" is not a loopback address, and the pages there`,
	}},
	"admin": {args: []string{"--admin.token=s3cret s3cret", "--admin.hosts=edge-1,http://edge-1,*,[::1]", "--admin.insecure=perhaps"}, want: []string{
		`--admin.insecure: "perhaps" is neither true nor false`,
		"--admin.token: has a blank, a line feed or a letter that is not ASCII",
		`--admin.hosts: "http://edge-1" is no name of a host; write one such as edge-1`,
		`--admin.hosts: "*" is no name of a host`,
		`--admin.hosts: "[::1]" is no name of a host`,
	}},
	"one port twice": {args: []string{"--listen=:3001"}, want: []string{`admin.listen: "127.0.0.1:3001" is the same port as listen (:3001); choose another`}},
	"one port twice, other names": {flavour: FlavourEmbedded, args: []string{"--listen=localhost:4", "--admin.listen=127.0.0.1:4", "--embedded.listen=[::1]:4"}, want: []string{
		`--admin.listen: "127.0.0.1:4" is the same port as listen (localhost:4)`, `--embedded.listen: "[::1]:4" is the same port as listen (localhost:4)`,
	}},
	"one port twice, all addresses": {args: []string{"--listen=0.0.0.0:4", "--admin.listen=[::1]:4"}, want: []string{`--admin.listen: "[::1]:4" is the same port as listen (0.0.0.0:4)`}},
	"one port twice, mapped":        {args: []string{"--listen=127.0.0.1:4", "--admin.listen=[::ffff:127.0.0.1]:4"}, want: []string{`--admin.listen: "[::ffff:127.0.0.1]:4" is the same port`}},
	"a long path":                   {args: []string{"--path=/" + strings.Repeat("a", 1024)}, want: []string{`--path: is longer than 1024 bytes`}},
	"path":                          {args: []string{"--path=io"}, want: []string{`--path: "io" does not begin with a slash; write "/io"`}},
	"path, not plain":               {args: []string{"--path=/a/../b?c"}, want: []string{`--path: "/a/../b?c/" is no plain path`}},
	"paths that the router would read otherwise": {args: []string{"--path=/{x/"}, want: []string{`--path: "/{x/" is no plain path`}},
	"a wildcard as path":                         {args: []string{"--path=/{$}/"}, want: []string{`--path: "/{$}/" is no plain path`}},
	"two slashes as path":                        {args: []string{"--path=//"}, want: []string{`--path: "//" is no plain path`}},
	"a blank in the path":                        {args: []string{"--path=/a b/"}, want: []string{`--path: "/a b/" is no plain path`}},
	"no path but the root":                       {args: []string{"--path=/"}, want: []string{`--path: "/" is no path for clients alone`}},
	"path of the page":                           {args: []string{"--path=/", "--page"}, want: []string{`--path: "/" is no path for clients alone`}},
	"log level":                                  {args: []string{"--log.level=inf"}, want: []string{`--log.level: "inf" is not one of debug, info, warn, error; did you mean info?`}},
	"proxies": {environ: []string{"PARTYLINE_TRUSTED_PROXIES=10.0.0.1,proxy,10.0.0.0/40"}, want: []string{
		`PARTYLINE_TRUSTED_PROXIES: "proxy" is neither an address nor a range; write 10.0.0.7 or 10.0.0.0/8`,
		`PARTYLINE_TRUSTED_PROXIES: "10.0.0.0/40" is neither`,
	}},
	"engine": {args: []string{"--engine.ping_interval=0s", "--engine.ping_timeout=-1s", "--engine.upgrade_timeout=1us", "--engine.max_payload=1023", "--engine.transports=polling,webtransport,polling"}, want: []string{
		"--engine.ping_interval: 0s is too short; write at least 1ms",
		"--engine.ping_timeout: -1s is too short",
		"--engine.upgrade_timeout: 1µs is too short",
		"--engine.max_payload: 1023 is too small; write at least 1024 bytes",
		`--engine.transports: "webtransport" is not one of polling, websocket`,
		`--engine.transports: "polling" is listed twice`,
	}},
	"no transport":      {environ: []string{"PARTYLINE_ENGINE_TRANSPORTS="}, want: []string{"PARTYLINE_ENGINE_TRANSPORTS: is empty; write polling, websocket or both"}},
	"too much for NATS": {flavour: FlavourEmbedded, args: []string{"--engine.max_payload=67108864", "--limits.session_bytes=134217728"}, want: []string{"--engine.max_payload: 67108864 is more than NATS can carry; write at most 67043328 bytes"}},
	"origins": {args: []string{"--cors.origins=app.example,https://*.app.example,https://a.example/x,https://*.com,https://*,*"}, want: []string{
		`--cors.origins: "app.example" is not an origin; write scheme://host`,
		`--cors.origins: "https://a.example/x" is not an origin`,
		`--cors.origins: "https://*.com" is a pattern that matches anybody's domain`,
		`--cors.origins: "https://*" is a pattern whose last part could be anybody's`,
	}},
	"cookie": {args: []string{"--cookie.name=a b"}, want: []string{`--cookie.name: "a b" cannot name a cookie`}},
	"drain": {args: []string{"--drain.rate=-1", "--drain.timeout=-1s", "--isolation_timeout=-1s"}, want: []string{
		"--drain.rate: -1 is negative; write 0 to send all clients away at once", "--drain.timeout: -1s is negative", "--isolation_timeout: -1s is too short",
	}},
	"session bytes": {args: []string{"--limits.session_bytes=4194303"}, want: []string{"--limits.session_bytes: 4194303 is less than limits.queue_bytes (4194304) or twice engine.max_payload (1000000); write at least 4194304"}},
	"limits": {args: []string{"--limits.rooms_per_socket=-1", "--limits.namespaces_per_session=-1", "--limits.sessions", "-1", "--limits.sessions_per_address=-1", "--limits.handshakes_per_second=-1", "--limits.handshakes_per_second_per_address=-1", "--limits.queue_bytes=65535", "--limits.queue_packets=0", "--limits.events_per_second=0", "--limits.events_burst=-1", "--limits.bytes_per_second=9223372036854775807", "--limits.overrun=-1s", "--limits.memory=101%"}, want: []string{
		"--limits.rooms_per_socket: -1 is negative; write 0 for no limit", "--limits.namespaces_per_session: -1", "--limits.sessions: -1", "--limits.sessions_per_address: -1", "--limits.handshakes_per_second: -1",
		"--limits.handshakes_per_second_per_address: -1 is negative; write 0 for no limit",
		"--limits.events_per_second: 0 is too small: there is always a limit; write at least 1", "--limits.events_burst: -1 is too small",
		"--limits.bytes_per_second: 9223372036854775807 is too much", "--limits.overrun: -1s is negative; write 0s to close no session",
		"--limits.queue_bytes: 65535 is too small; write at least 65536", "--limits.queue_packets: 0 is too small; write at least 16",
		"--limits.memory: \"101%\" is more than the whole limit",
	}},

	"numbers that no use needs": {args: []string{"--limits.queue_bytes=9223372036854775807", "--limits.queue_packets=9223372036854775807", "--limits.sessions=1099511627777",
		"--limits.handshakes_per_second=9223372036854775807", "--drain.rate=9223372036854775807", "--engine.max_payload=9223372036854775807"}, want: []string{
		"--drain.rate: 9223372036854775807 is too much; write at most 1099511627776", "--engine.max_payload: 9223372036854775807 is too much; write at most 1073741824",
		"--limits.sessions: 1099511627777 is too much; write at most 1099511627776", "--limits.handshakes_per_second: 9223372036854775807 is too much",
		"--limits.queue_bytes: 9223372036854775807 is too much; write at most 1099511627776", "--limits.queue_packets: 9223372036854775807 is too much",
	}},
	"times that no use needs": {args: []string{"--drain.timeout=2562047h47m16s", "--isolation_timeout=2562047h", "--engine.ping_interval=241h", "--engine.ping_timeout=2562047h", "--engine.upgrade_timeout=2562047h", "--connect_timeout=2562047h"},
		environ: []string{`PARTYLINE_NAMESPACES={"/a":{"connect_timeout":"2562047h"}}`}, want: []string{
			`PARTYLINE_NAMESPACES: namespaces: "/a": connect_timeout: 2562047h0m0s is too much; write at most 87600h0m0s`,
			"--drain.timeout: 2562047h47m16s is too much; write at most 87600h0m0s", "--isolation_timeout: 2562047h0m0s is too much", "--engine.ping_interval: 241h0m0s is too much; write at most 240h0m0s",
			"--engine.ping_timeout: 2562047h0m0s is too much", "--engine.upgrade_timeout: 2562047h0m0s is too much", "--connect_timeout: 2562047h0m0s is too much",
		}},
	"larger than a number": {args: []string{"--limits.queue_bytes=9223372036854775808", "--drain.timeout=9999999h"}, want: []string{
		`--drain.timeout: "9999999h" is not a duration`, `--limits.queue_bytes: "9223372036854775808" is not a whole number`,
	}},
	"isolation": {args: []string{"--isolation_timeout=1ns"}, want: []string{"--isolation_timeout: 1ns is too short; write at least 1s, or 0s to keep"}},

	"advertise without http": {args: []string{"--advertise=10.0.0.7:3000"}, want: []string{
		`--advertise: "10.0.0.7:3000" is not where other edges could reach this one; write http://host:port, such as http://10.0.0.7:3000`,
	}},
	"advertise without a port": {args: []string{"--advertise=http://edge-1"}, want: []string{`--advertise: "http://edge-1" is not where`}},
	"advertise a bad host":     {args: []string{"--advertise=http://a{}:1"}, want: []string{`--advertise: "http://a{}:1" is not where`}},
	"advertise a bad port":     {args: []string{"--advertise=http://a:99999"}, want: []string{`--advertise: "http://a:99999" is not where`}},
	"advertise with a path":    {args: []string{"--advertise=http://edge-1:3000/x"}, want: []string{`--advertise: "http://edge-1:3000/x" is not where`}},
	"advertise of nowhere":     {args: []string{"--advertise=http://0.0.0.0:3000"}, want: []string{`--advertise: "http://0.0.0.0:3000" is no address that others could ask`}},

	"advertise without a secret": {args: []string{"--advertise=http://edge-1:3000", "--trusted_proxies=10.0.0.0/8"}, want: []string{
		"--advertise: needs edges.secret, the same on every edge: without it, anyone who may publish sio.$edge.> in NATS chooses where clients' requests and cookies go; set it (better as PARTYLINE_EDGES_SECRET), or edges.insecure to go without",
	}},
	"networks": {args: []string{"--edges.networks=10.0.0.0/8,x,10.0.0.1/33", "--edges.secret=x", "--advertise=http://edge-1:3000"}, want: []string{
		`--edges.networks: "x" is neither an address nor a range; write 10.0.0.7 or 10.0.0.0/8`, `--edges.networks: "10.0.0.1/33" is neither`,
	}},
	"advertise outside the networks": {args: []string{"--edges.networks=10.0.0.0/8,fd00::/8", "--edges.secret=x", "--advertise=http://[::ffff:192.0.2.1]:3000"}, want: []string{
		`--advertise: "http://[::ffff:192.0.2.1]:3000" lies outside edges.networks, so other edges would ignore it; add its network there`,
	}},
	"reply prefixes": {args: []string{"--nats.reply_prefixes=_INBOX.>,a.*.b,>,$x,sio,sio.chat.>"}, want: []string{
		`--nats.reply_prefixes: bad reply prefix "a.*.b": it must be tokens between single dots, without spaces, control characters, * and >; write the inbox prefixes of services, such as _INBOX.> or _INBOX.chat.>`,
		`--nats.reply_prefixes: bad reply prefix ">"`, `--nats.reply_prefixes: bad reply prefix "$x"`,
		`--nats.reply_prefixes: bad reply prefix "sio.>": it overlaps the prefix of all subjects, "sio"; services need an inbox prefix of their own`,
		`--nats.reply_prefixes: bad reply prefix "sio.chat.>": it overlaps`,
	}},
	"no reply prefixes": {args: []string{"--nats.reply_prefixes="}, want: []string{"--nats.reply_prefixes: is empty, so that no request could be answered; write _INBOX.>"}},

	"prefix":            {args: []string{"--nats.prefix=a..b"}, want: []string{"--nats.prefix: "}},
	"prefix of NATS":    {args: []string{"--nats.prefix=$SYS"}, want: []string{"--nats.prefix: "}},
	"prefix of replies": {args: []string{"--nats.prefix=_INBOX.a"}, want: []string{"--nats.prefix: "}},
	"NATS URLs": {args: []string{"--nats.url=http://u:s3cret@a,nats://:4222,nats://u:s3cret@[,b:1"}, want: []string{
		`--nats.url: "http://u:hidden@a" has a scheme that NATS does not know; write nats://host:4222`,
		`--nats.url: "nats://:4222" names no host`,
		`--nats.url: "nats://u:hidden@[" is not a URL`,
	}},
	"servers that cannot be dialled": {args: []string{"--nats.url=127.0.0.1:99999,nats://h:0,tls://h{}:1,nats://[::1]:70000,nats://[h]:1,ws://bücher:80,nats://a,,nats://b"}, want: []string{
		`--nats.url: "127.0.0.1:99999" has no good port; write a number from 1 to 65535`,
		`--nats.url: "nats://h:0" has no good port`,
		`--nats.url: "tls://h{}:1" `,
		`--nats.url: "nats://[::1]:70000" has no good port`,
		`--nats.url: "nats://[h]:1" `,
		`--nats.url: "ws://bücher:80" has no good host`,
		`--nats.url: "" names no host`,
	}},
	"WebSocket and not": {args: []string{"--nats.url=ws://a,nats://b"}, want: []string{"--nats.url: has servers with ws:// or wss:// and others"}},
	"user and token":    {args: []string{"--nats.url=nats://bob:s3cret@a,nats://b", "--nats.token=s3cret"}, want: []string{"--nats.token: nats.url with a user or token and nats.token are given; NATS takes one of them"}},
	"user and token and port": {args: []string{"--nats.url=bob:s3cret@127.0.0.1:99999", "--nats.token=s3cret"}, want: []string{
		`--nats.url: "bob:hidden@127.0.0.1:99999" has no good port`, "--nats.token: nats.url with a user or token and nats.token are given"}},
	"token twice":            {args: []string{"--nats.url=s3cret@a", "--nats.token=s3cret"}, want: []string{"--nats.token: nats.url with a user or token and nats.token are given"}},
	"user and creds":         {file: "nats: {creds: FILE, url: bob:s3cret@a}\n", want: []string{"FILE:1: nats.creds: nats.url with a user or token and nats.creds are given"}},
	"user and creds and key": {file: "nats: {creds: FILE, url: bob:s3cret@a, nkey: FILE}\n", want: []string{"FILE:1: nats.nkey: nats.url with a user or token and nats.creds and nats.nkey are given"}},
	"no NATS URL":            {args: []string{"--nats.url="}, want: []string{"--nats.url: is empty; write the servers' URLs"}},
	"two secrets":            {file: "nats: {nkey: FILE, token: s3cret}\n", want: []string{"FILE:1: nats.token: nats.nkey and nats.token are given; NATS takes one of them"}},
	"no such files": {args: []string{"--nats.creds=/nowhere/creds", "--nats.tls.ca=/nowhere/ca"}, want: []string{
		"--nats.creds: the file cannot be read: open /nowhere/creds: no such file",
		"--nats.tls.ca: the file cannot be read",
	}},
	"half a pair": {file: "nats: {tls: {ca: FILE, cert: FILE}}\n", want: []string{
		"FILE:1: nats.tls.ca: \"FILE\" holds no certificate in PEM form",
		"FILE:1: nats.tls.cert: needs nats.tls.key, the file of its private key",
	}},
	"other half": {file: "nats: {tls: {key: FILE}}\n", want: []string{"FILE:1: nats.tls.key: needs nats.tls.cert"}},
	"no pair":    {file: "nats: {tls: {key: FILE, cert: FILE}}\n", want: []string{`FILE:1: nats.tls.cert: "FILE" and "FILE" are no pair of certificate and key`}},

	"the other program's keys": {file: "embedded: {listen: \":4222\"}\n", args: []string{"--embedded.jetstream.dir=x"}, want: []string{
		"--embedded.jetstream.dir: unknown flag: only cmd/embedded knows it: cmd/edge has no NATS inside; remove it, or run cmd/embedded",
		"FILE:1: embedded: unknown key: only cmd/embedded knows it",
	}},
	"the other program's keys, embedded": {flavour: FlavourEmbedded, file: "nats: {url: x, prefix: a, tls: {ca: x}}\n", want: []string{
		"FILE:1: nats.url: unknown key: only cmd/edge and cmd/gateway know it: cmd/embedded has NATS inside and connects to it in the process; remove it, or run cmd/edge or cmd/gateway",
		"FILE:1: nats.tls: unknown key: only cmd/edge and cmd/gateway know it",
	}},
	"open to the world": {flavour: FlavourEmbedded, args: []string{"--listen=0.0.0.0:3000", "--embedded.listen=:4222"}, want: []string{
		"--listen: \"0.0.0.0:3000\" is not a loopback address, and without a `namespaces` section everything is open to everyone; declare namespaces in the file (or PARTYLINE_NAMESPACES), or listen on 127.0.0.1",
		"--embedded.listen: \":4222\" is not a loopback address",
	}},
	"JetStream in a file": {flavour: FlavourEmbedded, file: "embedded: {jetstream: {dir: FILE}}\n", want: []string{`FILE:1: embedded.jetstream.dir: "FILE" is a file; name a folder`}},

	"log": {args: []string{"--recovery.storage=disk", "--recovery.replicas=2", "--recovery.max_bytes=80%"}, want: []string{
		`--recovery.storage: "disk" is not one of file, memory`,
		"--recovery.replicas: 2 servers cannot keep a copy each; write 1, 3 or 5",
		`--recovery.max_bytes: "80%" is not a number of bytes; write it such as 512MiB or 1GiB`,
	}},
	"log, smaller": {args: []string{"--recovery.max_bytes=0"}, want: []string{`--recovery.max_bytes: "0" is too small; write at least 1MiB`}},
	"log, larger":  {args: []string{"--recovery.max_bytes=9999999999TiB"}, want: []string{`--recovery.max_bytes: "9999999999TiB" is too much; write at most 1024TiB`}},
	"log, keys of namespaces": {file: "recovery: {for: 2m}\n", want: []string{
		`FILE:1: recovery.for: belongs to a namespace, such as namespaces: {"/chat": {recovery: {for: 2m}}}`,
	}},
	"log, one server": {flavour: FlavourEmbedded, file: "recovery: {replicas: 3}\n", want: []string{"FILE:1: recovery.replicas: 3 is more than there are servers: the NATS inside is one; write 1"}},

	"refuse sessions":     {file: "nats: {refuse_sessions: true}\n", want: []string{`FILE:1: nats.refuse_sessions: "true" is not one of auto, on, off`}},
	"no namespaces":       {file: "namespaces:\n", want: []string{"FILE:1: namespaces: declares none, so that no client could connect"}},
	"no namespaces, JSON": {environ: []string{"PARTYLINE_NAMESPACES={}"}, want: []string{"PARTYLINE_NAMESPACES: namespaces: declares none"}},
	"no JSON":             {environ: []string{"PARTYLINE_NAMESPACES={/: x}"}, want: []string{"PARTYLINE_NAMESPACES: is not JSON (invalid character"}},
	"namespaces, a list":  {file: "namespaces: [a]\n", want: []string{"FILE:1: namespaces: must hold keys (key: value), not a list"}},
	"namespaces": {file: `
namespaces:
  chat: {connect: opn, conect: open}
  "/a":
    connect_timeout: 5
    rooms: all
    auto_join: ["", "a*", "abcd1234.ABCDEFGHIJKLMNOPQRST", a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q]
    relay:
      - {event: join, to: rooms}
      - {event: disconnect, to: everyone, self: maybe}
      - {}
      - x
  "/a": {}
  "/b": {connect_timeout: 0s, rooms: [""], relay: {event: x}}
  "/c": [open]
  "/d": {unavailable: reject}
  "/e": {events_per_second: 0, events_burst: many}
  "/f": {events_burst: 5}
  "/g": {recovery: 2m, rewind: 50}
  "/h": {recovery: {skip_admision: no}, rewind: [{room: "", messages: 0, age: 25h}]}
  "/i": {recovery: {for: 500ms}, rewind: {messages: 1001, age: 0s, x: 1}}
  "/j": {recovery: , rewind: }
`, want: []string{
		`FILE:3: namespaces: "chat": a namespace begins with a slash; write "/chat"`,
		`FILE:3: namespaces: "chat": connect: "opn" is not one of service, open, token; did you mean open?`,
		`FILE:3: namespaces: "chat": unknown key "conect"; did you mean connect?`,
		`FILE:5: namespaces: "/a": connect_timeout: "5" is not a duration`,
		`FILE:6: namespaces: "/a": rooms: must be a list such as [a, b], not a single value`,
		`FILE:7: namespaces: "/a": auto_join[0]: is empty; write a room's name`,
		`FILE:7: namespaces: "/a": auto_join[1]: "a*" is a pattern; a socket enters rooms by their exact names`,
		`FILE:7: namespaces: "/a": auto_join[2]: "abcd1234.ABCDEFGHIJKLMNOPQRST" has the form of a socket id`,
		`FILE:7: namespaces: "/a": auto_join[3]: "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q" cannot be part of a NATS subject`,
		`FILE:9: namespaces: "/a": relay[0]: event: "join" is answered by the edge itself (see rooms) and is never passed on`,
		`FILE:10: namespaces: "/a": relay[1]: event: "disconnect" is a reserved name, which no client can emit`,
		`FILE:10: namespaces: "/a": relay[1]: to: "everyone" is not one of rooms, room, socket, all, rooms_or_all`,
		`FILE:10: namespaces: "/a": relay[1]: self: "maybe" is neither true nor false`,
		`FILE:11: namespaces: "/a": relay[2]: has no event`,
		`FILE:11: namespaces: "/a": relay[2]: has no to; write one of rooms, room, socket, all, rooms_or_all`,
		`FILE:12: namespaces: "/a": relay[3]: must hold keys`,
		`FILE:13: namespaces: "/a" is given twice; remove one`,
		`FILE:14: namespaces: "/b": connect_timeout: 0s is too short`,
		`FILE:14: namespaces: "/b": rooms[0]: is empty`,
		`FILE:14: namespaces: "/b": relay: must be a list of rules`,
		`FILE:15: namespaces: "/c": must hold keys (key: value), not a list`,
		`FILE:16: namespaces: "/d": unavailable: "reject" is not one of wait, refuse`,
		`FILE:17: namespaces: "/e": events_per_second: 0 is too small: there is always a limit`,
		`FILE:17: namespaces: "/e": events_burst: "many" is not a whole number`,
		`FILE:18: namespaces: "/f": has events_burst without events_per_second; add that, or remove it`,
		`FILE:19: namespaces: "/g": recovery: must hold keys such as {for: 2m}, not a single value`,
		`FILE:19: namespaces: "/g": rewind: must be a list of rules such as [{room: "news-*", messages: 50, age: 1h}], not a single value`,
		`FILE:20: namespaces: "/h": recovery: unknown key "skip_admision"; did you mean skip_admission?`,
		`FILE:20: namespaces: "/h": recovery: has no for; write how long a client may be away, such as for: 2m`,
		`FILE:20: namespaces: "/h": rewind[0]: room: is empty; write a room's name or a pattern`,
		`FILE:20: namespaces: "/h": rewind[0]: messages: 0 is too few; write at least 1, or remove the rule`,
		`FILE:20: namespaces: "/h": rewind[0]: age: 25h0m0s is too much; write at most 24h0m0s`,
		`FILE:21: namespaces: "/i": recovery: for: 500ms is too short; write at least 1s`,
		`FILE:21: namespaces: "/i": rewind: messages: 1001 is too much; write at most 1000`,
		`FILE:21: namespaces: "/i": rewind: age: 0s is too short; write at least 1s`,
		`FILE:21: namespaces: "/i": rewind: unknown key "x"`,
		`FILE:22: namespaces: "/j": recovery: must hold keys such as {for: 2m}, not nothing`,
		`FILE:22: namespaces: "/j": rewind: must be a list of rules`,
	}},
	"namespace in JSON": {environ: []string{`PARTYLINE_NAMESPACES={"/a":{"relay":[{"event":"","to":1}]}}`}, want: []string{
		`PARTYLINE_NAMESPACES: namespaces: "/a": relay[0]: event: is empty`,
		`PARTYLINE_NAMESPACES: namespaces: "/a": relay[0]: to: "1" is not one of`,
	}},
}

func TestBadConfigurations(t *testing.T) {
	for name, c := range badConfigurations {
		t.Run(name, func(t *testing.T) {
			args, path := c.args, filepath.Join(t.TempDir(), "p.yaml")
			if c.file != "" {
				args = append([]string{"--config", path}, args...)
				if err := os.WriteFile(path, []byte(strings.ReplaceAll(c.file, "FILE", path)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.flavour == "" {
				c.flavour = FlavourEdge
			}
			_, err := Load(c.flavour, args, c.environ)
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("error %v, want Faults", err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("a secret in %q", err)
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(c.want) {
				t.Errorf("%d faults, want %d", len(got), len(c.want))
			}
			for i, want := range c.want {
				if i < len(got) && !strings.HasPrefix(got[i], strings.ReplaceAll(want, "FILE", path)) {
					t.Errorf("fault %d:\n got %s\nwant %s…", i, got[i], want)
				}
			}
			if t.Failed() {
				t.Logf("all faults:\n%v", err)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "admin.listen", "engine.ping_interval", "engine.ping_timeout", "nats.tls.ca", "print-config"}
	for in, want := range map[string]string{
		"listen": "listen", "lisen": "listen", "engine.ping_interval": "engine.ping_interval", "ping_interval": "engine.ping_interval",
		"PING-TIMEOUT": "engine.ping_timeout", "print_config": "print-config", "ca": "nats.tls.ca", "x": "", "": "", "something": "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := levenshtein.Distance(c.a, c.b, nil); got != c.want {
			t.Errorf("levenshtein(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// For any file, Load returns a configuration or faults.
func FuzzFile(f *testing.F) {
	for _, c := range badConfigurations {
		f.Add(c.file)
	}
	f.Add("a: &a [*a]\nnamespaces: &n {\"/\": *n}\n? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "p.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(FlavourEdge, []string{"--config", path}, nil)
		var faults Faults
		if err != nil && !errors.As(err, &faults) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}
