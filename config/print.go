package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"

	"partyline/internal/redact"
)

// hidden stands where a secret was.
const hidden = "hidden"

// YAML writes the configuration as a file that the same program can load again, apart from secrets: in their place
// stands "hidden".
func (c Config) YAML(f Flavour) ([]byte, error) {
	values, err := c.values()
	if err != nil {
		return nil, err
	}
	shown := map[string]any{}
	for _, k := range keysOf(f) {
		shown[k.name] = withoutSecret(k.name, values.Get(k.name))
	}
	if !c.Open {
		shown[namespacesKey] = c.Namespaces
	}
	out, err := yamlFile{}.Marshal(maps.Unflatten(shown, "."))
	if err != nil || !c.Open {
		return out, err
	}
	// As a section they would end open mode, and with it the rule about loopback.
	out = append(out, "# No namespaces section: open mode, on loopback only, as if this stood here:\n"...)
	section, err := yamlFile{}.Marshal(map[string]any{namespacesKey: c.Namespaces})
	for line := range strings.Lines(string(section)) {
		out = append(out, "# "+line...)
	}
	return out, err
}

// values makes the keys of a configuration readable by name.
func (c Config) values() (*koanf.Koanf, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(c, "koanf"), nil); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return k, nil
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
