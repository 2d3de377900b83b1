// Package helm_test renders the Helm chart of deploy/helm, and checks what it makes as Kubernetes and the product would.
package helm_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	valuesutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const chartFolder = "../../deploy/helm/partyline"

// sets are the values in testdata, by name.
var sets = []string{"first", "production", "tls", "gateway", "nats"}

// decoder refuses fields that a type lacks, repeated fields, and kinds that no type is registered for.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, autoscaling.AddToScheme, core.AddToScheme, networking.AddToScheme, policy.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
}()

func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelError) // Helm tells of each symbolic link
	os.Exit(m.Run())
}

// loadChart loads the chart from its folder.
func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readSet returns one of sets.
func readSet(t *testing.T, name string) map[string]any {
	t.Helper()
	values, err := common.ReadValuesFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// render returns the texts of the chart's objects by template, or why the values are refused.
func render(t *testing.T, c *chart.Chart, values map[string]any) (map[string]string, error) {
	t.Helper()
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, err
	}
	release := common.ReleaseOptions{Name: "chat", Namespace: "talk", Revision: 1, IsInstall: true}
	all, err := valuesutil.ToRenderValues(c, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// release is what the chart makes of a set of values.
type release struct {
	t       *testing.T
	ip      string // of its pods
	objects []runtime.Object
}

// newRelease renders a set of values, and decodes every object.
func newRelease(t *testing.T, values map[string]any) *release {
	t.Helper()
	r := &release{t: t, ip: "10.1.2.3"}
	if edge, _ := values["edge"].(map[string]any); edge["ipv6"] == true {
		r.ip = "fd00::17"
	}
	texts, err := render(t, loadChart(t), values)
	if err != nil {
		t.Fatal(err)
	}
	for _, template := range slices.Sorted(maps.Keys(texts)) {
		if !strings.HasPrefix(template, "partyline/templates/") || filepath.Ext(template) != ".yaml" {
			continue
		}
		for documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(texts[template]))); ; {
			text, err := documents.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", template, err)
			}
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			object, _, err := decoder.Decode(text, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", template, err, text)
			}
			r.objects = append(r.objects, object)
		}
	}
	return r
}

// all returns the objects of a type.
func all[T runtime.Object](r *release) (found []T) {
	for _, o := range r.objects {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// named returns the object of a type and a name.
func named[T interface {
	runtime.Object
	GetName() string
}](r *release, name string) (found T) {
	r.t.Helper()
	for _, o := range all[T](r) {
		if o.GetName() == name {
			return o
		}
	}
	r.t.Fatalf("there is no %T %s", found, name)
	return found
}

// forEachSet runs a test with each set of values.
func forEachSet(t *testing.T, test func(t *testing.T, r *release)) {
	for _, name := range sets {
		t.Run(name, func(t *testing.T) { test(t, newRelease(t, readSet(t, name))) })
	}
}

// TestKinds counts what each set of values makes, all of it decoded strictly.
func TestKinds(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"first":      {"Deployment": 1, "ConfigMap": 1, "Service": 2, "PodDisruptionBudget": 1, "NetworkPolicy": 1},
		"production": {"Deployment": 1, "ConfigMap": 2, "Service": 2, "PodDisruptionBudget": 1, "NetworkPolicy": 1, "Ingress": 1, "HorizontalPodAutoscaler": 1, "ServiceMonitor": 1, "PrometheusRule": 1},
		"tls":        {"Deployment": 1, "ConfigMap": 1, "Service": 2, "PodDisruptionBudget": 1, "NetworkPolicy": 1},
		"gateway":    {"Deployment": 2, "ConfigMap": 2, "Service": 4, "PodDisruptionBudget": 2, "NetworkPolicy": 2, "Secret": 1, "ServiceMonitor": 1},
		"nats":       {"Deployment": 1, "ConfigMap": 1, "Service": 2},
	} {
		got := map[string]int{}
		names := map[string]bool{}
		for _, o := range newRelease(t, readSet(t, name)).objects {
			kind := o.GetObjectKind().GroupVersionKind().Kind
			got[kind]++
			id := kind + " " + o.(meta.Object).GetName()
			if names[id] {
				t.Errorf("%s: %s is there twice", name, id)
			}
			names[id] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s makes %v, want %v", name, got, want)
		}
	}
}

// TestLint lints the chart with each set of values, without its dependency, whose archive is not in the repository.
func TestLint(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "partyline")
	for _, f := range loadChart(t).Raw {
		if strings.HasPrefix(f.Name, "charts/") {
			continue // it is there once `helm dependency build` has fetched it
		}
		text := f.Data
		if f.Name == "Chart.yaml" {
			text, _, _ = bytes.Cut(text, []byte("dependencies:"))
		}
		writeFile(t, filepath.Join(folder, f.Name), text)
	}
	for _, name := range sets {
		result := lint.RunAll(folder, readSet(t, name), "talk")
		for _, m := range result.Messages {
			if !strings.Contains(m.Error(), "icon is recommended") {
				t.Errorf("%s: %v", name, m)
			}
		}
		if len(result.Messages) == 0 {
			t.Error("the linter does not even miss an icon")
		}
	}
}

// TestNATSChart checks the optional dependency. Where `helm dependency build` has fetched its archive, it is rendered, too.
func TestNATSChart(t *testing.T) {
	c := loadChart(t)
	if len(c.Metadata.Dependencies) != 1 || c.Metadata.Dependencies[0].Condition != "nats.enabled" || c.Metadata.Dependencies[0].Name != "nats" {
		t.Errorf("the dependencies are %+v", c.Metadata.Dependencies)
	}
	url := regexp.MustCompile(`nats://([^:]+):4222`)
	name := url.FindStringSubmatch(named[*core.ConfigMap](newRelease(t, readSet(t, "nats")), "chat-partyline-edge").Data["partyline.yaml"])
	if name == nil || name[1] != "chat-nats" {
		t.Fatalf("edges connect to %q", name)
	}
	if len(c.Dependencies()) == 0 {
		t.Skip("LEFT OUT: rendering NATS's own chart, which `helm dependency build deploy/helm/partyline` fetches from the network")
	}
	texts, err := render(t, c, readSet(t, "nats"))
	if err != nil {
		t.Fatal(err)
	}
	isService := regexp.MustCompile(`(?m)^kind: Service\n(.*\n)*?  name: chat-nats$`)
	if !slices.ContainsFunc(slices.Collect(maps.Values(texts)), isService.MatchString) {
		t.Error("the chart makes no Service chat-nats, to which edges connect")
	}
}
