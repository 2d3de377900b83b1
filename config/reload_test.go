package config

import (
	"slices"
	"strings"
	"testing"
)

// otherValues are values of keys that differ from the default, where the next-best would not be accepted beside the
// others.
var otherValues = map[string][]string{
	"listen": {"127.0.0.1:3999"}, "admin.listen": {"127.0.0.1:3998"}, "embedded.listen": {"127.0.0.1:3997"}, "gateway.listen": {"127.0.0.1:3996"},
	"edges.listen": {"127.0.0.1:3995"}, "path": {"/io/"}, "nats.url": {"nats://127.0.0.1:1"}, "nats.prefix": {"prod.sio"},
	"nats.reply_prefixes": {"_INBOX.chat.>"}, "nats.refuse_sessions": {"off", "on"}, "advertise": {"http://10.0.0.7:3000"},
	"edges.insecure": {"true"}, "cors.origins": {"https://app.example"}, "engine.transports": {"websocket"}, "token.from": {"authorization"},
	"recovery.storage": {"memory"}, "recovery.replicas": {"3"}, "recovery.max_bytes": {"512MiB"}, "log.level": {"debug"},
	"limits.memory": {"512MiB"}, "limits.session_bytes": {"16777216"}, "ui.url": {"https://chat.example"}, "admin.token": {"s3cret-s3cret"},
	"engine.max_payload": {"2000"}, "limits.queue_bytes": {"70000"}, "limits.queue_packets": {"100"},
}

// Each key is either reloaded, or refused by its name, with the value that stays. A secret is not shown.
func TestEachKeyReloadsOrIsRefused(t *testing.T) {
	file := write(t, "x")
	for _, f := range []Flavour{FlavourEdge, FlavourEmbedded, FlavourGateway} {
		base := []string{"--edges.secret=first-secret"}
		if f == FlavourGateway {
			base = append(base, "--gateway.listen=127.0.0.1:3080")
		}
		running := NewRunning(f, mustLoad(t, f, base, nil).Config)
		for _, k := range keysOf(f) {
			if strings.HasPrefix(k.name, "tls.") || strings.HasPrefix(k.name, "nats.tls.") || k.name == "embedded.jetstream.dir" ||
				f == FlavourEmbedded && (k.name == "recovery.replicas" || slices.Contains([]string{"nats.creds", "nats.nkey", "nats.token"}, k.name)) {
				continue // they need good files, in pairs; one server has one replica, and no users without a file of its own
			}
			values := append(slices.Clone(otherValues[k.name]), "7", "true", "false", "7s", "10.0.0.0/8", "other", file)
			next, ok := Loaded{}, false
			for _, value := range values {
				args := append(slices.Clone(base), "--"+k.name+"="+value)
				var err error
				if next, err = Load(f, args, nil); err == nil && slices.Contains(running.Changes(next.Config), k.name) {
					ok = true
					break
				}
			}
			if !ok {
				t.Errorf("%s: %s: no other value is known", f, k.name)
				continue
			}
			faults := running.Restarts(next)
			isNamed := slices.ContainsFunc(faults, func(one Fault) bool { return one.Where == "--"+k.name })
			switch {
			case k.name == "ui.users_file": // whether there is a UI needs a restart
			case k.live && len(faults) > 0:
				t.Errorf("%s: %s reloads, and is refused: %v", f, k.name, faults)
			case !k.live && (!isNamed || !strings.Contains(faults.Error(), "needs a restart: the program runs with ")):
				t.Errorf("%s: %s needs a restart, and is not named: %v", f, k.name, faults)
			case strings.Contains(faults.Error(), "first-secret"):
				t.Errorf("%s: %s: a secret is shown: %v", f, k.name, faults)
			}
		}
	}
}

// What is wrong is named all at once.
func TestAllRestartsAreNamed(t *testing.T) {
	running := NewRunning(FlavourEdge, mustLoad(t, FlavourEdge, nil, nil).Config)
	file := write(t, "listen: \":3002\"\nlog: {level: debug}\nengine: {ping_timeout: 30s}\n")
	next := mustLoad(t, FlavourEdge, []string{"--config", file}, nil)
	want := file + `:1: listen: needs a restart: the program runs with :3000` + "\n" +
		file + `:3: engine.ping_timeout: needs a restart: the program runs with 20s`
	if got := running.Restarts(next).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Which namespaces may change, one step after the other, and which may not: sockets of one namespace share whether its
// events are logged, and its presence.
func TestNamespacesThatReload(t *testing.T) {
	const began = `"/open": {connect: open}, "/back": {recovery: {for: 2m}, connect: open}, "/shown": {presence: true}, "/a-*": {connect: open}`
	load := func(namespaces string) Loaded {
		return mustLoad(t, FlavourEdge, []string{"--config", write(t, "namespaces: {"+namespaces+"}")}, nil)
	}
	for name, steps := range map[string][]struct {
		namespaces, refused string // refused: a part of the text; "" if it is not
	}{
		"other rules": {{`"/open": {rooms: ["*"], relay: [{event: say, to: all}], auto_join: [x], connect: service}, "/back": {recovery: {for: 1m}}, "/shown": {presence: true}`, ""}},
		"fewer, and back again": {
			{`"/open": {connect: open}`, ""},
			{began, ""},
			{`"/back": {connect: open, recovery: {for: 30s, skip_admission: false}}`, ""},
			{`"/back": {connect: open}`, `"/back"`},
			{began, ""},
		},
		"more":                    {{began + `, "/new": {connect: open}, "/b-*": {}, "/new-shown": {presence: ["lobby"]}`, ""}},
		"recovery is new":         {{began + `, "/new": {recovery: {for: 1m}}`, `"/new": needs a restart: it had neither recovery nor rewind at the start`}},
		"recovery begins":         {{`"/open": {connect: open, recovery: {for: 1m}}`, `namespaces: "/open"`}},
		"recovery ends":           {{`"/back": {connect: open}`, `namespaces: "/back"`}},
		"recovery is longer":      {{`"/back": {connect: open, recovery: {for: 3m}}`, "recovery and rewind would need the events of the last"}},
		"rewind beside recovery":  {{`"/back": {recovery: {for: 1m}, rewind: {messages: 3, age: 1m}}`, ""}},
		"rewind in its place":     {{`"/back": {rewind: {messages: 3, age: 1m}}`, `namespaces: "/back"`}},
		"another presence":        {{`"/shown": {presence: {event: who}}`, `namespaces: "/shown"`}},
		"a name below a pattern":  {{began + `, "/a-1": {presence: true}`, `namespaces: "/a-1"`}},
		"one like its pattern":    {{began + `, "/a-1": {rooms: ["*"]}`, ""}},
		"a name falls to another": {{`"/ba*": {connect: open}`, `namespaces: "/back"`}},
		"a pattern over others":   {{began + `, "/a-b*": {presence: true}`, `namespaces: "/a-b*"`}},
		"a pattern beside others": {{began + `, "/c-*": {presence: true}`, ""}},
		"it may come back later": {
			{began + `, "/new": {presence: true}`, ""},
			{began, ""},
			{began + `, "/new": {}`, `namespaces: "/new"`},
		},
	} {
		running := NewRunning(FlavourEdge, load(began).Config)
		for i, step := range steps {
			next := load(step.namespaces)
			faults := running.Restarts(next)
			if step.refused == "" && len(faults) > 0 || !strings.Contains(faults.Error(), step.refused) {
				t.Errorf("%s, step %d: %q, want %q", name, i+1, faults.Error(), step.refused)
			}
			if len(faults) == 0 {
				running.Use(next.Config)
			}
		}
	}
}

// With NATS inside, a section of namespaces ends the openness of all, and a gateway owns the namespaces of its hooks.
func TestSectionsThatNeedARestart(t *testing.T) {
	secrets := write(t, "whsec_"+strings.Repeat("QUJD", 11)+"\n")
	hook := func(namespace string) string {
		return `hooks: [{namespaces: ["` + namespace + `"], events: [connect], url: "http://127.0.0.1:1/` + namespace + `", secrets_file: "` + secrets + `"}]`
	}
	for _, test := range []struct {
		flavour       Flavour
		before, after string
		refused       string
	}{
		{FlavourEmbedded, "", "namespaces: {\"/\": {connect: open}}", "namespaces: needs a restart: without this section everything is open"},
		{FlavourGateway, hook("/a"), hook("/b"), "hooks: needs a restart: the program owns the sockets of the namespaces /a, and no others"},
		{FlavourGateway, hook("/a"), strings.Replace(hook("/a"), "connect", "disconnect", 1), ""},
		{FlavourGateway, "gateway: {listen: \"127.0.0.1:3080\"}", "gateway: {listen: \"127.0.0.1:3080\"}\nui: {users_file: \"" + secrets + "\"}", "ui.users_file: needs a restart"},
	} {
		before := mustLoad(t, test.flavour, []string{"--config", write(t, test.before)}, nil)
		after := mustLoad(t, test.flavour, []string{"--config", write(t, test.after)}, nil)
		got := NewRunning(test.flavour, before.Config).Restarts(after).Error()
		if test.refused == "" && got != "" || !strings.Contains(got, test.refused) {
			t.Errorf("%s\nis followed by %s\n got %q\nwant %q", test.before, test.after, got, test.refused)
		}
	}
}
