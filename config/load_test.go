package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/rule"
)

// write saves a configuration file in a folder of the test and returns its path.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "partyline.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustLoad loads a good configuration.
func mustLoad(t *testing.T, f Flavour, args, environ []string) Loaded {
	t.Helper()
	loaded, err := Load(f, args, environ)
	if err != nil {
		t.Fatalf("Load(%s, %q, %q): %v", f, args, environ, err)
	}
	return loaded
}

func TestDefaultsAreValid(t *testing.T) {
	for _, f := range []Flavour{FlavourEdge, FlavourEmbedded} {
		loaded := mustLoad(t, f, nil, nil)
		if want := Default(f); !reflect.DeepEqual(loaded.Config, want) {
			t.Errorf("%s: without any source:\n got %+v\nwant %+v", f, loaded.Config, want)
		}
		if len(loaded.Warnings) > 0 || loaded.Action != ActionRun {
			t.Errorf("%s: warnings %q, action %d", f, loaded.Warnings, loaded.Action)
		}
	}
}

// The key table is written by hand, with its texts. The structs are what packages read.
func TestKeysAreTheFieldsOfTheStruct(t *testing.T) {
	values := Default(FlavourEdge).values()
	fields, variables := map[string]bool{}, map[string]string{}
	for _, name := range values.Keys() {
		fields[name] = true
	}
	for _, k := range allKeys {
		if !fields[k.name] {
			t.Errorf("key %s has no field", k.name)
		}
		delete(fields, k.name)
		if other := variables[k.env()]; other != "" {
			t.Errorf("%s and %s share %s", k.name, other, k.env())
		}
		variables[k.env()] = k.name
		var want kind
		switch values.Get(k.name).(type) {
		case int:
			want = integer
		case bool:
			want = boolean
		case time.Duration:
			want = duration
		case []string:
			want = list
		}
		if k.kind != want {
			t.Errorf("%s: kind %d, the field has %d", k.name, k.kind, want)
		}
		if k.group == "" || !strings.HasSuffix(k.help, ".") || (k.arg == "") != (k.kind == boolean) {
			t.Errorf("%s: incomplete help %+v", k.name, k)
		}
	}
	for name := range fields {
		t.Errorf("field %s has no key", name)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, `
listen: 127.0.0.1:1
engine: {ping_interval: 1s, transports: [polling]}
nats.prefix: file
cors:
  origins: [https://file.example]
`)
	environ := []string{
		"PARTYLINE_ENGINE_PING_INTERVAL=2s", "PARTYLINE_NATS_PREFIX=env", "PARTYLINE_CORS_ORIGINS=https://a.example, https://b.example:443",
		"PARTYLINE_CORS_CREDENTIALS=true", "PATH=/bin",
	}
	args := []string{"--config", file, "--nats.prefix=flag", "--page", "--trusted_proxies", "10.0.0.1", "--trusted_proxies=10.1.0.0/16,::1"}
	c := mustLoad(t, FlavourEdge, args, environ).Config
	want := Default(FlavourEdge)
	want.Listen = "127.0.0.1:1"                                            // file
	want.Engine.Transports = []string{"polling"}                           // file; shorter than the default
	want.Engine.PingInterval = 2 * time.Second                             // environment over file
	want.CORS.Origins = []string{"https://a.example", "https://b.example"} // environment over file
	want.CORS.Credentials = true
	want.NATS.Prefix = "flag" // flag over both
	want.Page = true
	want.TrustedProxies = []string{"10.0.0.1", "10.1.0.0/16", "::1"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n got %+v\nwant %+v", c, want)
	}
}

func TestEveryKeyFromEverySource(t *testing.T) {
	samples := map[string]string{
		"listen": "127.0.0.1:9", "admin.listen": "127.0.0.1:8", "embedded.listen": "127.0.0.1:7", "path": "/p/",
		"log.level": "debug", "nats.url": "tls://n:4222", "nats.prefix": "a.b", "nats.token": "s", "nats.refuse_sessions": "on", "nats.reply_prefixes": "_INBOX.a.>,_R_.>", "advertise": "http://10.0.0.7:3000", "edges.secret": "s",
		"trusted_proxies": "10.0.0.0/8", "edges.networks": "10.0.0.0/8", "engine.transports": "websocket", "cors.origins": "*", "cookie.name": "io",
		"engine.max_payload": "2048", "limits.queue_bytes": "100000", "limits.session_bytes": "9000000", "limits.memory": "70%", "embedded.jetstream.dir": t.TempDir(),
		"recovery.storage": "memory", "recovery.replicas": "3", "recovery.max_bytes": "512MiB",
		"gateway.listen": "127.0.0.1:3080", "gateway.group": "web", "gateway.user_room": "u-", "ui.url": "https://chat.example", "token.from": "cookie:sid,auth", "token.event": "renew",
	}
	for _, k := range allKeys {
		f, value := k.in[0], samples[k.name]
		if k.name == "advertise" {
			f = FlavourEmbedded // cmd/edge wants edges.secret, too
		}
		switch {
		case strings.HasPrefix(k.name, "nats.tls.") || k.name == "nats.creds" || k.name == "nats.nkey":
			continue // files: see TestFilesOfNATS
		case value != "":
		case k.kind == boolean:
			value = "true"
		case k.kind == integer:
			value = "77"
		case k.kind == duration:
			value = "77s"
		}
		inFile := value
		if strings.HasPrefix(value, "*") {
			inFile = `"` + value + `"`
		}
		want, problem := k.parse(value)
		if problem != "" {
			t.Fatalf("%s: %s", k.name, problem)
		}
		for _, source := range []struct {
			name          string
			args, environ []string
		}{
			{"flag", []string{"--" + k.name + "=" + value}, nil},
			{"environment", nil, []string{k.env() + "=" + value}},
			{"file", []string{"--config", write(t, k.name+": "+inFile+"\n")}, nil},
		} {
			values := mustLoad(t, f, source.args, source.environ).Config.values()
			if got := values.Get(k.name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s from the %s: got %#v, want %#v", k.name, source.name, got, want)
			}
		}
	}
}

func TestNamespaces(t *testing.T) {
	want := map[string]rule.Namespace{
		"/": {Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout},
		"/v1.2/chat_room": {
			Connect: rule.ConnectOpen, ConnectTimeout: 2 * time.Second, Rooms: []string{"room", "lobby-*"}, AutoJoin: []string{"a.b"},
			Relay: []rule.Relay{{Event: "message", To: rule.ToRooms}, {Event: "x.*", To: rule.ToRoom, Self: true}},
		},
		"/dyn-*": {
			Connect: rule.ConnectOpen, ConnectTimeout: rule.DefaultConnectTimeout, EventsPerSecond: 20, EventsBurst: 50,
			Presence: rule.DefaultPresence("lobby-*"),
		},
		"/back": {
			Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout, Recovery: rule.Recovery{For: 2 * time.Minute},
			Rewind: []rule.Rewind{{Room: "news-*", Messages: 20, Age: time.Hour}, {Room: "*", Messages: 50, Age: 24 * time.Hour}},
		},
		"/asked": {
			Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout, Recovery: rule.Recovery{For: time.Second, AskAgain: true},
			Rewind: []rule.Rewind{{Room: "*", Messages: 1000, Age: time.Hour}},
		},
	}
	file := write(t, `
namespaces:
  "/":
  /v1.2/chat_room:
    connect: open
    connect_timeout: 2s
    rooms: ["room", "lobby-*"]
    auto_join: [a.b]
    relay:
      - {event: message, to: rooms, self: false}
      - {event: x.*, to: room, self: true}
  "/dyn-*": &open {connect: open, events_per_second: 20, events_burst: 50, presence: ["lobby-*"]}
  /back:
    recovery: {for: 2m, skip_admission: true}
    rewind: [{room: "news-*", messages: 20}, {age: 24h}]
  /asked: {recovery: {for: 1s, skip_admission: false}, rewind: {messages: 1000}}
`)
	inJSON := `{"/":{},"/v1.2/chat_room":{"connect":"open","connect_timeout":"2s","rooms":["room","lobby-*"],"auto_join":["a.b"],
		"relay":[{"event":"message","to":"rooms"},{"event":"x.*","to":"room","self":true}]},"/dyn-*":{"connect":"open","events_per_second":20,"events_burst":50,"presence":["lobby-*"]},
		"/back":{"recovery":{"for":"2m"},"rewind":[{"room":"news-*","messages":20},{"age":"24h"}]},
		"/asked":{"recovery":{"for":"1s","skip_admission":false},"rewind":{"messages":1000}}}`
	other := write(t, "namespaces: {\"/other\": {connect: open}}\n")
	for name, loaded := range map[string]Loaded{
		"file":                mustLoad(t, FlavourEdge, []string{"--config", file}, nil),
		"JSON over the file":  mustLoad(t, FlavourEdge, []string{"--config", other}, []string{"PARTYLINE_NAMESPACES=" + inJSON}),
		"file with NATS here": mustLoad(t, FlavourEmbedded, []string{"--config", file}, nil),
	} {
		if got := loaded.Config.Namespaces; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
		if loaded.Config.Open {
			t.Errorf("%s: open although namespaces are declared", name)
		}
	}
}

func TestActions(t *testing.T) {
	file := write(t, "")
	for _, c := range []struct {
		args []string
		want Action
	}{
		{nil, ActionRun},
		{[]string{"-h"}, ActionHelp},
		{[]string{"--help", "--version", "--bad"}, ActionHelp}, // help also for a bad command line
		{[]string{"--version"}, ActionVersion},
		{[]string{"--print-config", "--listen=:1"}, ActionPrintConfig},
		{[]string{"--health"}, ActionHealth},
		{[]string{"--check-config", file}, ActionCheck},
		{[]string{"--check-config", file, "--version"}, ActionVersion},
	} {
		if got := mustLoad(t, FlavourEdge, c.args, nil).Action; got != c.want {
			t.Errorf("%q: action %d, want %d", c.args, got, c.want)
		}
	}
}

// Containers name the file in the environment, so that their health check reads it, too.
func TestFileOfTheEnvironment(t *testing.T) {
	environ := []string{"PARTYLINE_CONFIG=" + write(t, "listen: :7")}
	loaded := mustLoad(t, FlavourEdge, []string{"--health"}, environ)
	if loaded.Config.Listen != ":7" || len(loaded.Warnings) > 0 {
		t.Errorf("listen is %s, warnings %q", loaded.Config.Listen, loaded.Warnings)
	}
	if c := mustLoad(t, FlavourEdge, []string{"--config", write(t, "path: /p/")}, environ).Config; c.Listen != ":3000" || c.Path != "/p/" {
		t.Errorf("both files were read: %s, %s", c.Listen, c.Path)
	}
	if _, err := Load(FlavourEdge, nil, []string{"PARTYLINE_CONFIG=/no/such/file"}); err == nil || !strings.HasPrefix(err.Error(), "PARTYLINE_CONFIG: ") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	loaded := mustLoad(t, FlavourEdge, nil, []string{
		"PARTYLINE_PORT=tcp://10.0.0.1:3000", "PARTYLINE_LISTN=:1", "PARTYLINE_EMBEDDED_LISTEN=:1", "OTHER=1",
	})
	if len(loaded.Warnings) != 1 {
		t.Fatalf("warnings %q, want one", loaded.Warnings)
	}
	for _, part := range []string{"PARTYLINE_PORT", "PARTYLINE_LISTN (did you mean PARTYLINE_LISTEN?)", "PARTYLINE_EMBEDDED_LISTEN (only cmd/embedded knows it"} {
		if !strings.Contains(loaded.Warnings[0], part) {
			t.Errorf("warning %q lacks %q", loaded.Warnings[0], part)
		}
	}

	loaded = mustLoad(t, FlavourEmbedded, []string{"--embedded.listen=0.0.0.0:4222"}, []string{`PARTYLINE_NAMESPACES={"/":{}}`})
	if len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], "no credentials") {
		t.Errorf("warnings for a NATS on all addresses: %q", loaded.Warnings)
	}

	loaded = mustLoad(t, FlavourEdge, []string{"--nats.refuse_sessions=on"}, []string{`PARTYLINE_NAMESPACES={"/":{},"/chat":{"connect":"open"}}`})
	if len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], "/chat") {
		t.Errorf("warnings for a refusal that never comes: %q", loaded.Warnings)
	}

	loaded = mustLoad(t, FlavourEdge, []string{"--limits.events_per_second=10"}, []string{`PARTYLINE_NAMESPACES={"/":{"events_per_second":10},"/chat":{"events_per_second":11}}`})
	if len(loaded.Warnings) != 1 || !strings.Contains(loaded.Warnings[0], `"/chat": events_per_second: 11 does nothing`) {
		t.Errorf("warnings for a rate that is never reached: %q", loaded.Warnings)
	}
}

func TestWarnsOfPagesWithoutAnOrigin(t *testing.T) {
	c := mustLoad(t, FlavourEdge, []string{"--cors.origins=NULL,file://,https://*.Preview.example.com,capacitor://localhost,https://bücher.example"}, nil)
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "sandboxed frame") {
		t.Errorf("warnings %q", c.Warnings)
	}
	want := []string{"null", "file://", "https://*.preview.example.com", "capacitor://localhost", "https://xn--bcher-kva.example"}
	if got := c.Config.CORS.Origins; !reflect.DeepEqual(got, want) {
		t.Errorf("the origins are %q, want %q", got, want)
	}
}

// A key that lost its meaning does not keep an edge from starting. A warning names it, its source, and its
// replacement.
func TestWarnsOfStrictInterest(t *testing.T) {
	for _, value := range []string{"true", "false"} {
		path := write(t, "namespaces:\n  \"/feed\":\n    connect: open\n    strict_interest: "+value+"\n")
		loaded := mustLoad(t, FlavourEdge, []string{"--config", path}, nil)
		want := path + `:4: namespaces: "/feed": strict_interest: has no effect`
		if len(loaded.Warnings) != 1 || !strings.HasPrefix(loaded.Warnings[0], want) {
			t.Errorf("%s: warnings %q, want %q", value, loaded.Warnings, want)
		}
		printed, err := loaded.Config.YAML(FlavourEdge)
		if err != nil || strings.Contains(string(printed), "strict_interest") {
			t.Errorf("%s: %v, it is printed:\n%s", value, err, printed)
		}
	}
	loaded := mustLoad(t, FlavourEdge, nil, []string{`PARTYLINE_NAMESPACES={"/feed":{"strict_interest":true}}`})
	if len(loaded.Warnings) != 1 || !strings.HasPrefix(loaded.Warnings[0], "PARTYLINE_NAMESPACES: ") {
		t.Errorf("from the environment: warnings %q", loaded.Warnings)
	}
}

func TestWarnsOfEdgesWithoutTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		args   []string
		warned bool
	}{
		{nil, false},
		{[]string{"--advertise=http://10.0.0.7:3000", "--edges.insecure"}, true},
		{[]string{"--advertise=http://10.0.0.7:3000", "--edges.insecure", "--trusted_proxies=10.0.0.0/8"}, true},
		{[]string{"--advertise=http://10.0.0.7:3000", "--edges.insecure", "--edges.secret=x"}, true},
		{[]string{"--advertise=http://10.0.0.7:3000", "--edges.networks=10.0.0.0/8", "--edges.secret=x"}, false},
		{[]string{"--advertise=http://edge-1:3000", "--edges.networks=10.0.0.0/8", "--edges.secret=x"}, false},
		{[]string{"--advertise=http://10.0.0.7:3000/", "--edges.secret=x"}, false},
		{[]string{"--advertise=http://[::1]:3000", "--trusted_proxies=10.0.0.0/8", "--edges.secret=x"}, false},
	} {
		if got := mustLoad(t, FlavourEdge, c.args, nil).Warnings; (len(got) > 0) != c.warned {
			t.Errorf("%q: warnings %q", c.args, got)
		}
	}
	if got := mustLoad(t, FlavourEdge, []string{"--advertise=http://10.0.0.7:3000/", "--edges.secret=x"}, nil).Config.Advertise; got != "http://10.0.0.7:3000" {
		t.Errorf("the address is %q", got)
	}
}

// In a file from a template, everything is often commented out.
func TestEmptyFiles(t *testing.T) {
	for _, content := range []string{"", "# nothing\n", "---\n", "nats:\n  # url: x\nlisten: :3000\n"} {
		if got := mustLoad(t, FlavourEdge, []string{"--config", write(t, content)}, nil).Config; !reflect.DeepEqual(got, Default(FlavourEdge)) {
			t.Errorf("file %q: %+v", content, got)
		}
	}
}

func TestProxyRanges(t *testing.T) {
	c := mustLoad(t, FlavourEdge, []string{"--trusted_proxies=10.0.0.1,10.1.2.3/16,::1,::ffff:10.0.0.2"}, nil).Config
	got := []string{}
	for _, r := range c.ProxyRanges() {
		got = append(got, r.String())
	}
	if want := []string{"10.0.0.1/32", "10.1.0.0/16", "::1/128", "10.0.0.2/32"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An edge that listens on a name is reached under it.
func TestNamesOfThePages(t *testing.T) {
	c := mustLoad(t, FlavourEdge, []string{"--admin.listen=edge-1:3001", "--admin.hosts=pages.example:80", "--admin.insecure"}, nil).Config
	if got := c.Admin.Names(); !slices.Equal(got, []string{"pages.example", "edge-1"}) {
		t.Errorf("got %q", got)
	}
}
