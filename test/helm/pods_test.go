package helm_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"

	"partyline/config"
	"partyline/internal/edgetest"
)

// secrets are the contents of the Secrets that the sets of values name, by name and key.
var secrets = map[string]map[string]string{
	"partyline": {
		"edges-secret": "edges-5ecret", "admin-token": "admin-5ecret", "nats-url": "nats://edge:nats-5ecret@nats.example:4222",
		"edge.creds": "creds-5ecret", "edge.nk": "nk-5ecret",
	},
	"token-keys": {"hmac": "hmac-5ecret-0123456789abcdef0123456789"},
	"hooks":      {"secrets": "whsec_" + strings.Repeat("QUJD", 11)},
	"admin-ui":   {"users": "ann:$2a$10$5ecret"},
}

// certificates adds the Secrets with certificates.
func certificates(t *testing.T, to map[string]map[string]string) {
	t.Helper()
	made := edgetest.NewCertificate(t, time.Hour)
	for _, name := range []string{"chat-tls", "nats-client-tls"} {
		to[name] = map[string]string{"tls.crt": string(made.Cert), "tls.key": string(made.Key), "ca.crt": string(made.Cert)}
	}
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pod is a pod of a Deployment as a kubelet runs it: with its files in a folder, and its variables.
type pod struct {
	container     core.Container
	args, environ []string
}

// newPod lays out the files of a Deployment's pod, and expands its variables.
func newPod(t *testing.T, r *release, d *apps.Deployment) pod {
	t.Helper()
	const root = "/etc/partyline/"
	folder := t.TempDir() + "/"
	files, contents := map[string]string{}, maps.Clone(secrets)
	certificates(t, contents)
	for _, s := range all[*core.Secret](r) {
		contents[s.Name] = s.StringData
	}
	spec := d.Spec.Template.Spec
	for _, m := range spec.Containers[0].VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v core.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			t.Fatalf("%s mounts %s, which is no volume", d.Name, m.Name)
		}
		switch v := spec.Volumes[i]; {
		case v.ConfigMap != nil:
			maps.Copy(files, below(m.MountPath, named[*core.ConfigMap](r, v.ConfigMap.Name).Data, nil))
		case v.Secret != nil:
			if contents[v.Secret.SecretName] == nil {
				t.Fatalf("%s mounts the Secret %s, which is not there", d.Name, v.Secret.SecretName)
			}
			maps.Copy(files, below(m.MountPath, contents[v.Secret.SecretName], v.Secret.Items))
		}
	}
	if len(spec.Volumes) != len(spec.Containers[0].VolumeMounts) {
		t.Errorf("%s has %d volumes and mounts %d", d.Name, len(spec.Volumes), len(spec.Containers[0].VolumeMounts))
	}
	for path, text := range files {
		writeFile(t, strings.Replace(path, root, folder, 1), []byte(strings.ReplaceAll(text, root, folder)))
	}
	p := pod{container: spec.Containers[0]}
	for _, arg := range p.container.Args {
		p.args = append(p.args, strings.ReplaceAll(arg, root, folder))
	}
	values := map[string]string{}
	for _, v := range p.container.Env {
		value := variable.ReplaceAllStringFunc(v.Value, func(s string) string { return values[variable.FindStringSubmatch(s)[1]] })
		switch from := v.ValueFrom; {
		case from == nil:
		case from.FieldRef != nil && from.FieldRef.FieldPath == "status.podIP":
			value = r.ip
		case from.SecretKeyRef != nil:
			var has bool
			if value, has = contents[from.SecretKeyRef.Name][from.SecretKeyRef.Key]; !has {
				t.Errorf("%s: the Secret %s lacks %s", v.Name, from.SecretKeyRef.Name, from.SecretKeyRef.Key)
			}
		default:
			t.Errorf("%s comes from %v", v.Name, from)
		}
		values[v.Name] = value
		p.environ = append(p.environ, v.Name+"="+value)
	}
	return p
}

// variable matches what Kubernetes replaces in a value by an earlier variable.
var variable = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// below lists the files of a volume by their paths.
func below(folder string, contents map[string]string, items []core.KeyToPath) map[string]string {
	files := map[string]string{}
	if items == nil {
		for key, text := range contents {
			files[folder+"/"+key] = text
		}
	}
	for _, item := range items {
		files[folder+"/"+item.Path] = contents[item.Key]
	}
	return files
}

// flavour is the program of a Deployment.
func flavour(d *apps.Deployment) config.Flavour {
	return config.Flavour(d.Labels["app.kubernetes.io/component"])
}

// load loads the configuration of a Deployment's pod, as its program does.
func load(t *testing.T, r *release, d *apps.Deployment) config.Config {
	t.Helper()
	p := newPod(t, r, d)
	loaded, err := config.Load(flavour(d), p.args, p.environ)
	if err != nil {
		t.Fatalf("%s: %v", d.Name, err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("%s: the program warns: %q", d.Name, loaded.Warnings)
	}
	return loaded.Config
}

// TestConfigurationLoads loads the configuration of every pod, and compares its addresses with those in the Deployment.
func TestConfigurationLoads(t *testing.T) {
	forEachSet(t, func(t *testing.T, r *release) {
		for _, d := range all[*apps.Deployment](r) {
			c := load(t, r, d)
			if c.Edges.Secret != "edges-5ecret" || c.Admin.Token != "admin-5ecret" {
				t.Errorf("%s has other secrets", d.Name)
			}
			if c.NATS.URL == "" || strings.Contains(c.NATS.URL, "127.0.0.1") {
				t.Errorf("%s connects to %q", d.Name, c.NATS.URL)
			}
			listens := map[string]string{"admin": c.Admin.Listen, "http": c.Gateway.Listen}
			if flavour(d) == config.FlavourEdge {
				listens["http"], listens["edges"] = c.Listen, c.Edges.Listen
			}
			ports := d.Spec.Template.Spec.Containers[0].Ports
			if len(ports) != len(listens) {
				t.Errorf("%s has the ports %v, and listens on %v", d.Name, ports, listens)
			}
			for _, p := range ports {
				if listens[p.Name] != fmt.Sprintf(":%d", p.ContainerPort) {
					t.Errorf("%s: port %s is %d, and the program listens on %q", d.Name, p.Name, p.ContainerPort, listens[p.Name])
				}
				if host := strings.Trim(strings.TrimPrefix(c.Advertise, "http://"), "[]"); p.Name == "edges" && strings.ReplaceAll(host, "]", "") != fmt.Sprintf("%s:%d", r.ip, p.ContainerPort) {
					t.Errorf("%s advertises %s", d.Name, c.Advertise)
				}
			}
		}
	})
}

// TestLargeNumbers catches that numbers of values, which are floating, reach the configuration in scientific notation.
func TestLargeNumbers(t *testing.T) {
	r := newRelease(t, readSet(t, "production"))
	c := load(t, r, all[*apps.Deployment](r)[0])
	if c.Engine.MaxPayload != 1_900_000 || c.Limits.SessionBytes != 8_388_608 || c.Drain.Timeout != time.Minute || c.Drain.Rate != 500 {
		t.Errorf("the configuration has %+v, %+v, %+v", c.Engine, c.Limits, c.Drain)
	}
	if chat := c.Namespaces["/chat"]; len(c.Namespaces) != 1 || !chat.AsksService() {
		t.Errorf("the namespaces are %+v", c.Namespaces)
	}
}

// TestPodsStopInTime checks that the time for preStop and what the program needs at its end fit into the grace.
func TestPodsStopInTime(t *testing.T) {
	const behind = 20 * time.Second // after the drain: docs/how-to/operate.md. A gateway finishes requests for as long
	forEachSet(t, func(t *testing.T, r *release) {
		for _, d := range all[*apps.Deployment](r) {
			spec := d.Spec.Template.Spec
			hook := spec.Containers[0].Lifecycle.PreStop.Sleep
			if hook == nil || hook.Seconds < 1 {
				t.Fatalf("%s has the preStop %+v", d.Name, spec.Containers[0].Lifecycle.PreStop)
			}
			needs := time.Duration(hook.Seconds)*time.Second + behind
			if flavour(d) == config.FlavourEdge {
				needs += load(t, r, d).Drain.Timeout
			}
			if grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; grace < needs || grace > needs+20*time.Second {
				t.Errorf("%s gets %v, and needs %v", d.Name, grace, needs)
			}
		}
	})
}

// TestSecretsAreInSecretsOnly looks for each secret in everything that is no Secret.
func TestSecretsAreInSecretsOnly(t *testing.T) {
	for _, name := range sets {
		texts, err := render(t, loadChart(t), readSet(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for template, text := range texts {
			for document := range strings.SplitSeq(text, "\n---") {
				if strings.Contains(document, "5ecret") && !strings.Contains(document, "\nkind: Secret\n") {
					t.Errorf("%s: %s shows a secret:\n%s", name, template, document)
				}
			}
		}
	}
	if text := named[*core.Secret](newRelease(t, readSet(t, "gateway")), "chat-partyline").StringData["edge-token"]; text != "edge-nats-5ecret" {
		t.Errorf("the Secret has %q", text)
	}
}

// TestSecurity checks what every container is.
func TestSecurity(t *testing.T) {
	forEachSet(t, func(t *testing.T, r *release) {
		for _, d := range all[*apps.Deployment](r) {
			spec := d.Spec.Template.Spec
			c := spec.Containers[0].SecurityContext
			if !*spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault ||
				*c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}) {
				t.Errorf("%s runs with %+v, %+v", d.Name, spec.SecurityContext, c)
			}
			if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
				t.Errorf("%s gets a token of Kubernetes, or variables of Services", d.Name)
			}
			if got := spec.Containers[0].Resources.Limits.Memory(); got.IsZero() {
				t.Errorf("%s has no limit of memory", d.Name)
			}
		}
	})
}

// TestReplicas checks who decides how many edges there are.
func TestReplicas(t *testing.T) {
	for name, want := range map[string]string{"first": "3", "production": "an autoscaler", "nats": "an autoscaler"} {
		r := newRelease(t, readSet(t, name))
		got := "an autoscaler"
		if n := all[*apps.Deployment](r)[0].Spec.Replicas; n != nil {
			got = fmt.Sprint(*n)
		}
		if got != want {
			t.Errorf("%s: %s decides, want %s", name, got, want)
		}
	}
	r := newRelease(t, readSet(t, "production"))
	scaler := all[*autoscaling.HorizontalPodAutoscaler](r)[0]
	named[*apps.Deployment](r, scaler.Spec.ScaleTargetRef.Name)
	down := scaler.Spec.Behavior.ScaleDown
	grace := *all[*apps.Deployment](r)[0].Spec.Template.Spec.TerminationGracePeriodSeconds
	if down.Policies[0].Value != 1 || int64(down.Policies[0].PeriodSeconds) < grace || *down.StabilizationWindowSeconds < 300 {
		t.Errorf("it scales down by %+v, and a pod takes up to %d seconds to leave", down, grace)
	}
}

// TestRollsWithTheConfiguration checks that another configuration or Secret makes other pods.
func TestRollsWithTheConfiguration(t *testing.T) {
	pods := func(change func(values map[string]any)) string {
		values := readSet(t, "gateway")
		change(values)
		return fmt.Sprint(named[*apps.Deployment](newRelease(t, values), "chat-partyline-edge").Spec.Template.Annotations)
	}
	before := pods(func(map[string]any) {})
	if pods(func(map[string]any) {}) != before {
		t.Error("the same values make other pods")
	}
	if pods(func(v map[string]any) { v["edge"].(map[string]any)["config"] = map[string]any{"page": true} }) == before {
		t.Error("another configuration makes the same pods")
	}
	if pods(func(v map[string]any) { v["secret"].(map[string]any)["data"].(map[string]any)["admin-token"] = "other" }) == before {
		t.Error("another Secret makes the same pods")
	}
}

// TestAlerts checks that the files of deploy/ reach Prometheus and Grafana unchanged.
func TestAlerts(t *testing.T) {
	r := newRelease(t, readSet(t, "production"))
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, g := range all[*monitoring.PrometheusRule](r)[0].Spec.Groups {
		rules += len(g.Rules)
	}
	if want := strings.Count(string(text), "- alert:"); rules != want || want == 0 {
		t.Errorf("%d alerts, want %d", rules, want)
	}
	dashboard, err := os.ReadFile("../../deploy/grafana/partyline.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := named[*core.ConfigMap](r, "chat-partyline-dashboard").Data["partyline.json"]; strings.TrimSpace(got) != strings.TrimSpace(string(dashboard)) {
		t.Error("the dashboard differs")
	}
}
