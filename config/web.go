package config

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"partyline/rule"
	"partyline/subjects"
)

// Web is what a gateway does over HTTP.
type Web struct {
	Gateway Gateway `koanf:"gateway"`
	API     API     `koanf:"api"`
	UI      UI      `koanf:"ui"`
	Hooks   []Hook  `koanf:"-"` // none by default
}

// HasWork reports whether a gateway would do anything.
func (w Web) HasWork() bool { return w.Gateway.Listen != "" || len(w.Hooks) > 0 }

// HasUI reports whether there is an Admin UI.
func (c Config) HasUI() bool { return c.Gateway.Listen != "" && (c.UI.UsersFile != "" || c.Open) }

// Gateway is what all parts of a gateway share.
type Gateway struct {
	Listen   string `koanf:"listen"`    // host:port of the HTTP API and the Admin UI; "": there is neither
	Group    string `koanf:"group"`     // the service group of all gateways
	UserRoom string `koanf:"user_room"` // what the rooms of users begin with; "": they have none
}

// API is the HTTP API.
type API struct {
	Keys              []APIKey `koanf:"-"`                   // none by default
	RequestsPerSecond int      `koanf:"requests_per_second"` // of one key; 0: no limit
}

// APIKey is a key of the HTTP API, and what it may do.
type APIKey struct {
	Name       string   `yaml:"name"`
	Hash       string   `yaml:"hash"`                 // "sha256:" and 64 hexadecimal digits
	Namespaces []string `yaml:"namespaces,omitempty"` // names and patterns
	Verbs      []string `yaml:"verbs,omitempty"`
	Rooms      []string `yaml:"rooms,omitempty"` // names and patterns
	May        []string `yaml:"may,omitempty"`
}

// UI is the Admin UI.
type UI struct {
	UsersFile string `koanf:"users_file"` // lines name:hash; "": the UI is off, but for FlavourEmbedded in open mode
	ReadOnly  bool   `koanf:"readonly"`
	URL       string `koanf:"url"` // where browsers reach the edges; "": the page asks
}

// Hook sends events of clients to HTTP endpoints.
type Hook struct {
	Namespaces  []string // names and patterns
	Events      []string // names and patterns; "connect" and "disconnect" are those of sockets
	URLs        []string
	SecretsFile string
	Secrets     [][]byte      // the keys in SecretsFile
	Timeout     time.Duration // of one request
	Concurrency int           // requests under way to all URLs together
	DenyPrivate bool          // refuse private and loopback addresses
}

// readHooks reads a `hooks` section.
func readHooks(n node) (hooks []Hook) {
	if n.isNull() {
		return nil // all of it is commented out
	}
	for _, item := range n.items(`of hooks such as [{namespaces: ["/chat"], events: [connect], url: https://…, secrets_file: …}]`) {
		hooks = append(hooks, readHook(item))
	}
	return hooks
}

func readHook(n node) Hook {
	h, before := Hook{Timeout: 5 * time.Second, Concurrency: 64}, len(n.loader.faults)
	n.fields(
		field{"namespaces", func(n node) { h.Namespaces = readTexts(n, servedNamespace) }},
		field{"events", func(n node) { h.Events = readTexts(n, hookEvent) }},
		field{"url", func(n node) { h.URLs = append(h.URLs, scalar(n, endpoint)) }},
		field{"urls", func(n node) { h.URLs = append(h.URLs, readTexts(n, endpoint)...) }},
		field{"secrets_file", func(n node) { h.SecretsFile = scalar(n, readableFile); h.Secrets = readSecrets(n, h.SecretsFile) }},
		field{"timeout", func(n node) {
			h.Timeout = scalar(n, checked(parseDuration, between(10*time.Millisecond, 5*time.Minute, "too short; write at least 10ms")))
		}},
		field{"concurrency", func(n node) {
			h.Concurrency = scalar(n, checked(parseNumber, between(1, 10_000, "too few; write at least 1")))
		}},
		field{"deny_private", func(n node) { h.DenyPrivate = scalar(n, parseBool) }},
	)
	if len(n.loader.faults) > before {
		return h
	}
	for _, missing := range []struct {
		isMissing bool
		what      string
	}{
		{len(h.Namespaces) == 0, `has no namespaces; name some, such as namespaces: ["/chat"]`},
		{len(h.Events) == 0, `has no events; name some, such as events: [connect, disconnect, "order.*"]`},
		{len(h.URLs) == 0, "has no url; write where its requests go, such as url: https://app.example/partyline"},
		{h.SecretsFile == "", "has no secrets_file; without it the endpoint could not tell who asks: write " +
			"`whsec_` and the base64 of 32 random bytes into a file, and name it"},
	} {
		if missing.isMissing {
			n.fault("%s", missing.what)
		}
	}
	return h
}

// servedNamespace is the check of a namespace, or a pattern, for which a gateway works.
func servedNamespace(s string) (name, problem string) {
	if s == subjects.AdminUI {
		return s, quote(s) + " is the Admin UI's, which no hook and no key reaches; give your own namespace another name"
	}
	return s, badNamespaceName(s)
}

func hookEvent(s string) (event, problem string) {
	if s == "" {
		problem = "is empty; name an event, or a pattern such as order.*"
	}
	return s, problem
}

// endpoint is the check of a URL for requests.
func endpoint(s string) (normal, problem string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		problem = quote(s) + " is no URL; write one such as https://app.example/partyline"
	case u.User != nil:
		problem = quote(s) + " has a user, which is never sent; remove it"
	case u.Fragment != "":
		problem = quote(s) + " has a fragment (#…), which is never sent; remove it"
	}
	return s, problem
}

// edgesURL is the check of ui.url.
func edgesURL(s string) (normal, problem string) {
	if _, problem := endpoint(s); problem != "" {
		return s, problem
	}
	u, _ := url.Parse(s) // by endpoint
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		problem = quote(s) + " has more than a host and a port; write where the edges are, such as https://chat.example"
	}
	return s, problem
}

// secretPrefix begins a secret of Standard Webhooks.
const secretPrefix = "whsec_"

// readSecrets reads the secrets of a hook, one a line. Faults do not repeat what is in the file.
func readSecrets(n node, path string) (secrets [][]byte) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // it has its fault
	}
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		text, hasPrefix := strings.CutPrefix(line, secretPrefix)
		secret, err := base64.StdEncoding.DecodeString(text)
		if !hasPrefix || err != nil || len(secret) < 24 || len(secret) > 64 {
			n.fault("%s: line %d is no secret; write %s and the base64 of 24 to 64 random bytes", shownPath(path), i+1, secretPrefix)
			return nil
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		n.fault("%s has no secret; write lines of %s and the base64 of 32 random bytes", shownPath(path), secretPrefix)
	}
	return secrets
}

// shownHooks are hooks as the file has them, without what may be secret: the queries of their URLs.
func shownHooks(hooks []Hook) (shown []map[string]any) {
	for _, h := range hooks {
		urls := slices.Clone(h.URLs)
		for i := range urls {
			if before, _, has := strings.Cut(urls[i], "?"); has {
				urls[i] = before + "?" + hidden
			}
		}
		shown = append(shown, map[string]any{
			"namespaces": h.Namespaces, "events": h.Events, "urls": urls, "secrets_file": h.SecretsFile,
			"timeout": h.Timeout.String(), "concurrency": h.Concurrency, "deny_private": h.DenyPrivate,
		})
	}
	return shown
}

// What a key of the API may name.
var (
	apiVerbs = []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data"}
	apiMay   = []string{"all", "socket", "user", "read", "session"}
	keyHash  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// readAPIKeys reads the section of the API's keys.
func readAPIKeys(n node) (keys []APIKey) {
	if n.isNull() {
		return nil
	}
	for _, item := range n.items(`of keys such as [{name: shop, hash: "sha256:…", namespaces: ["/chat"], verbs: [emit]}]`) {
		k, before := APIKey{}, len(n.loader.faults)
		item.fields(
			field{"name", func(n node) { k.Name = scalar(n, anyText) }},
			field{"hash", func(n node) { k.Hash = scalar(n, apiKeyHash) }},
			field{"namespaces", func(n node) { k.Namespaces = readTexts(n, servedNamespace) }},
			field{"verbs", func(n node) { k.Verbs = readTexts(n, oneOf(apiVerbs...)) }},
			field{"rooms", func(n node) { k.Rooms = readTexts(n, roomPattern) }},
			field{"may", func(n node) { k.May = readTexts(n, oneOf(apiMay...)) }},
		)
		switch taken := func(other APIKey) bool { return other.Name == k.Name || other.Hash == k.Hash }; {
		case len(n.loader.faults) > before:
		case k.Name == "" || k.Hash == "" || len(k.Namespaces) == 0:
			item.fault("needs a name, a hash and namespaces; the command key makes the first two")
		case slices.ContainsFunc(keys, taken):
			item.fault("has the name or the hash of another key; make a new one with the command key")
		}
		keys = append(keys, k)
	}
	return keys
}

// apiKeyHash is the check of a key's hash. Its problem does not repeat it: it may be the key.
func apiKeyHash(s string) (hash, problem string) {
	if !keyHash.MatchString(s) {
		problem = "is no hash of a key; the command key prints it: sha256: and 64 hexadecimal digits"
	}
	return s, problem
}

// groupName is the check of gateway.group.
func groupName(s string) (group, problem string) {
	const most = 55 // an instance's name, with what the SDK appends, has at most 64
	if !subjects.IsToken(s) || len(s) > most {
		problem = fmt.Sprintf("%s cannot name a group; write 1 to %d characters A-Z a-z 0-9 _ -", quote(s), most)
	}
	return s, problem
}

// validateWeb checks what a gateway needs.
func (l *loader) validateWeb(c *Config) {
	if c.API.Keys != nil && c.Gateway.Listen == "" {
		l.warn("api.keys: do nothing without gateway.listen, where the HTTP API is")
	}
	if c.UI.UsersFile != "" && c.Gateway.Listen == "" {
		l.warn("ui.users_file: does nothing without gateway.listen, where the Admin UI is")
	}
	if l.flavour == FlavourEmbedded && c.HasUI() {
		c.letUIConnect()
	}
	if l.flavour == FlavourGateway && !c.HasWork() {
		l.fault(l.at("gateway.listen"), "is empty, and there are no hooks: the gateway would have nothing to do")
	}
}

// letUIConnect makes the edge in the same process take the connections of the Admin UI.
func (c *Config) letUIConnect() {
	if _, isDeclared := c.Namespaces[subjects.AdminUI]; !isDeclared {
		c.Namespaces[subjects.AdminUI] = rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout}
	}
	host, port, _ := net.SplitHostPort(c.Listen)
	if _, uiPort, err := net.SplitHostPort(c.Gateway.Listen); err == nil && uiPort != "0" {
		for _, name := range []string{"127.0.0.1", "localhost"} {
			if origin := "http://" + net.JoinHostPort(name, uiPort); !slices.Contains(c.CORS.Origins, origin) {
				c.CORS.Origins = append(c.CORS.Origins, origin)
			}
		}
	}
	if c.UI.URL == "" && port != "0" && isLoopback(host) && c.TLS.Cert == "" {
		c.UI.URL = "http://" + net.JoinHostPort(host, port)
	}
}
