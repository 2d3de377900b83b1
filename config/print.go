package config

import (
	"bytes"
	"slices"
	"strings"

	"github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"

	"partyline/internal/redact"
)

// hidden stands where a secret was.
const hidden = "hidden"

// YAML writes the configuration as a file that the same program can load again, apart from secrets: in their place
// stands "hidden".
func (c Config) YAML(f Flavour) ([]byte, error) {
	values := c.values()
	shown := map[string]any{}
	for _, k := range keysOf(f) {
		shown[k.name] = withoutSecret(k.name, values.Get(k.name))
	}
	if len(c.Tokens) > 0 {
		shown[tokensKey] = shownTokens(c.Tokens)
	}
	if len(c.Hooks) > 0 {
		shown[hooksKey] = shownHooks(c.Hooks)
	}
	if len(c.API.Keys) > 0 {
		shown[apiKeysKey] = c.API.Keys
	}
	hasNamespaces := slices.Contains(sectionsOf(f), namespacesKey)
	if !c.Open && hasNamespaces {
		shown[namespacesKey] = c.Namespaces
	}
	out, err := marshal(maps.Unflatten(shown, "."))
	if err != nil || !c.Open || !hasNamespaces {
		return out, err
	}
	// As a section they would end open mode, and with it the rule about loopback.
	out = append(out, "# No namespaces section: open mode, on loopback only, as if this stood here:\n"...)
	section, err := marshal(map[string]any{namespacesKey: c.Namespaces})
	for line := range strings.Lines(string(section)) {
		out = append(out, "# "+line...)
	}
	return out, err
}

func marshal(values map[string]any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := e.Encode(values)
	return out.Bytes(), err
}

// values makes the keys of a configuration readable by name.
func (c Config) values() *koanf.Koanf {
	k := koanf.New(".")
	_ = k.Load(structs.Provider(c, "koanf"), nil) // fails for no struct
	return k
}

func withoutSecret(name string, value any) any {
	text, _ := value.(string)
	switch {
	case slices.Contains(secretKeys, name) && text != "":
		return hidden
	case name == "nats.url":
		return redact.URLs(text)
	}
	return value
}
