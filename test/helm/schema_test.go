package helm_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"partyline/config"
)

var update = flag.Bool("update", false, "write the program's settings into values.schema.json")

// ofTheChart are the settings that the chart writes itself, or reads from the Secret. Values must not have them.
var ofTheChart = []string{
	"listen", "admin.listen", "admin.token", "admin.insecure", "tls", "nats.url", "nats.creds", "nats.nkey", "nats.token", "nats.tls",
	"advertise", "edges.listen", "edges.secret", "edges.insecure", "drain", "gateway.listen",
}

// schemaOf returns the schema of a section of a program's configuration file.
func schemaOf(section map[string]any, path string) map[string]any {
	properties := map[string]any{}
	for label, value := range section {
		name := strings.TrimPrefix(path+"."+label, ".")
		if slices.Contains(ofTheChart, name) {
			continue
		}
		switch value := value.(type) {
		case map[string]any:
			if properties[label] = schemaOf(value, name); name == "namespaces" {
				properties[label] = map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"object", "null"}}}
			}
		case []any:
			properties[label] = map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
		case bool:
			properties[label] = map[string]any{"type": "boolean"}
		case float64:
			properties[label] = map[string]any{"type": "integer"}
		default:
			properties[label] = map[string]any{"type": []string{"string", "integer"}}
		}
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

// TestSchemaKnowsTheSettings compares the schema with the settings that the programs know.
func TestSchemaKnowsTheSettings(t *testing.T) {
	path := filepath.Join(chartFolder, "values.schema.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	list := map[string]any{"type": "array", "items": map[string]any{"type": "object"}}
	for program, sections := range map[config.Flavour]map[string]any{
		config.FlavourEdge: {"tokens": list}, config.FlavourGateway: {"hooks": list},
	} {
		defaults, err := config.Default(program).YAML(program)
		if err != nil {
			t.Fatal(err)
		}
		var settings map[string]any
		if err := yaml.Unmarshal(defaults, &settings); err != nil {
			t.Fatal(err)
		}
		made := schemaOf(settings, "")
		properties := made["properties"].(map[string]any)
		for name, section := range sections {
			properties[name] = section
		}
		if program == config.FlavourGateway {
			properties["api"].(map[string]any)["properties"].(map[string]any)["keys"] = list
		}
		schema["$defs"].(map[string]any)[string(program)+"Config"] = made
	}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		t.Fatal(err)
	}
	switch {
	case bytes.Equal(want.Bytes(), text):
	case *update:
		if err := os.WriteFile(path, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("values.schema.json does not have the programs' settings; go test -C test/helm . -update writes it")
	}
}

// TestSchemaRefuses checks that values with an error are refused, and that the reason names the place.
func TestSchemaRefuses(t *testing.T) {
	for _, c := range []struct{ values, want string }{
		{"edge: {replica: 3}", "replica"},
		{"edge: {replicas: three}", "replicas"},
		{"edge: {replicas: -1}", "replicas"},
		{"edges: {replicas: 3}", "edges"},
		{"edge: {config: {namspaces: {}}}", "namspaces"},
		{"edge: {config: {limits: {session: 3}}}", "session"},
		{"edge: {config: {limits: {sessions: many}}}", "sessions"},
		{"edge: {config: {page: 'yes'}}", "page"},
		{"edge: {config: {trusted_proxies: 10.0.0.0/8}}", "trusted_proxies"},
		{"edge: {config: {hooks: []}}", "hooks"},
		{"gateway: {config: {namespaces: {}}}", "namespaces"},
		{"edge: {drain: {timeout: 10s}}", "timeout"},
		{"edge: {drain: {timeoutSeconds: 10s}}", "timeoutSeconds"},
		{"edge: {preStopSeconds: 0}", "preStopSeconds"},
		{"edge: {service: {type: loadBalancer}}", "type"},
		{"edge: {ingress: {enabled: true}}", "host"},
		{"edge: {natsAuth: {method: password, key: nats-url}}", "method"},
		{"edge: {natsAuth: {method: url}}", "key"},
		{"edge: {image: {pullPolicy: always}}", "pullPolicy"},
		{"edge: {autoscaling: {enable: true}}", "enable"},
		{"natsServers: nats://nats.example:4222", "natsServers"},
		{`natsServers: ["nats://edge:5ecret@nats.example:4222"]`, "natsServers"},
		{"networkPolicy: {monitoring: {}}", "monitoring"},
		{"nats: {enabled: 'yes'}", "enabled"},
		{"secret: {name: partyline, data: {edges-secret: a, admin-token: b}}", "data"},
		{"secret: {name: '', data: {edges-secret: a}}", "admin-token"},
		{"secret: {name: ''}", "edges-secret"},
	} {
		values := readSet(t, "first")
		more, err := common.ReadValues([]byte(c.values))
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range more {
			values[key] = value
		}
		if _, err := render(t, loadChart(t), values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.values, err, c.want)
		}
	}
}

// TestSchemaRefusesSecrets checks that no setting that is secret, or of the chart, can be among the values.
func TestSchemaRefusesSecrets(t *testing.T) {
	for _, name := range ofTheChart {
		value := any("5ecret")
		for _, label := range slices.Backward(strings.Split(name, ".")) {
			value = map[string]any{label: value}
		}
		part := "edge"
		if name == "gateway.listen" {
			part = "gateway"
		}
		values := readSet(t, "first")
		values[part] = map[string]any{"config": value}
		if _, err := render(t, loadChart(t), values); err == nil {
			t.Errorf("%s.config may have %s", part, name)
		}
	}
}

// TestExamples renders the values in the documents.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/how-to/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, block := range regexp.MustCompile("(?s)```yml\n(.*?)```").FindAllSubmatch(text, -1) {
		lines := strings.Split(string(block[1]), "\n")
		indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for i := range lines {
			lines[i] = lines[i][min(indent, len(lines[i])):]
		}
		values, err := common.ReadValues([]byte(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatalf("%v\n%s", err, block[1])
		}
		examples++
		r := newRelease(t, values)
		for _, d := range all[*apps.Deployment](r) {
			load(t, r, d)
		}
	}
	if examples != 3 {
		t.Errorf("there are %d examples", examples)
	}
}

// TestWithoutServers checks that values without any NATS are refused, with what to do.
func TestWithoutServers(t *testing.T) {
	values := readSet(t, "first")
	delete(values, "natsServers")
	if _, err := render(t, loadChart(t), values); err == nil || !strings.Contains(err.Error(), "natsServers") {
		t.Errorf("without natsServers: %v", err)
	}
}
