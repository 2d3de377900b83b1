package helm_test

import (
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"partyline/config"
)

// matches reports whether a selector finds the pods of a Deployment.
func matches(t *testing.T, s *meta.LabelSelector, d *apps.Deployment) bool {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return !selector.Empty() && selector.Matches(labels.Set(d.Spec.Template.Labels))
}

// deploymentOf returns the one Deployment that a selector finds.
func deploymentOf(t *testing.T, r *release, s *meta.LabelSelector, who meta.Object) *apps.Deployment {
	t.Helper()
	var found []*apps.Deployment
	for _, d := range all[*apps.Deployment](r) {
		if matches(t, s, d) {
			found = append(found, d)
		}
	}
	if len(found) != 1 || found[0].Labels["app.kubernetes.io/component"] != who.GetLabels()["app.kubernetes.io/component"] {
		t.Fatalf("%s selects %d Deployments, or another part's", who.GetName(), len(found))
	}
	return found[0]
}

func hasPort(d *apps.Deployment, port intstr.IntOrString) bool {
	return slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Ports, func(p core.ContainerPort) bool { return p.Name == port.String() })
}

// TestWhatIsSelected follows every selector and every port by name.
func TestWhatIsSelected(t *testing.T) {
	forEachSet(t, func(t *testing.T, r *release) {
		for _, o := range r.objects {
			if name := o.(meta.Object).GetName(); len(validation.IsDNS1123Label(name)) > 0 {
				t.Errorf("%q cannot name an object", name)
			}
		}
		for _, d := range all[*apps.Deployment](r) {
			deploymentOf(t, r, d.Spec.Selector, d)
			c := d.Spec.Template.Spec.Containers[0]
			for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
				if probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "admin" || !hasPort(d, probe.HTTPGet.Port) {
					t.Errorf("%s is probed at %+v", d.Name, probe.HTTPGet)
				}
			}
		}
		for _, s := range all[*core.Service](r) {
			d := deploymentOf(t, r, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, s)
			for _, p := range s.Spec.Ports {
				if !hasPort(d, p.TargetPort) {
					t.Errorf("%s has no port %v", d.Name, p.TargetPort)
				}
				if isInner := s.Spec.ClusterIP == core.ClusterIPNone; isInner != (p.TargetPort.String() == "admin") || p.TargetPort.String() == "edges" {
					t.Errorf("%s serves %v", s.Name, p.TargetPort)
				}
			}
		}
		for _, b := range all[*policy.PodDisruptionBudget](r) {
			deploymentOf(t, r, b.Spec.Selector, b)
		}
		for _, m := range all[*monitoring.ServiceMonitor](r) {
			checkMonitor(t, r, m)
		}
	})
}

// checkMonitor checks that a ServiceMonitor finds the admin Service of each Deployment, and shows the token.
func checkMonitor(t *testing.T, r *release, m *monitoring.ServiceMonitor) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range all[*core.Service](r) {
		if selector.Matches(labels.Set(s.Labels)) {
			found++
			if s.Spec.Ports[0].Name != m.Spec.Endpoints[0].Port || s.Labels[m.Spec.JobLabel] != "partyline" {
				t.Errorf("%s is scraped at %s, as job %q", s.Name, m.Spec.Endpoints[0].Port, s.Labels[m.Spec.JobLabel])
			}
		}
	}
	if found != len(all[*apps.Deployment](r)) {
		t.Errorf("%d Services are scraped", found)
	}
	if key := m.Spec.Endpoints[0].Authorization.Credentials; key.Key != "admin-token" {
		t.Errorf("the token is in %+v", key)
	}
}

// TestNetworkPolicies checks who reaches which port.
func TestNetworkPolicies(t *testing.T) {
	r := newRelease(t, readSet(t, "gateway"))
	for _, p := range all[*networking.NetworkPolicy](r) {
		d := deploymentOf(t, r, &p.Spec.PodSelector, p)
		reached := map[string][]networking.NetworkPolicyPeer{}
		for _, rule := range p.Spec.Ingress {
			if len(rule.Ports) != 1 || !hasPort(d, *rule.Ports[0].Port) {
				t.Errorf("%s allows %+v", p.Name, rule.Ports)
			}
			reached[rule.Ports[0].Port.String()] = rule.From
		}
		if len(reached["http"]) != 0 || len(reached["admin"]) != 1 || reached["admin"][0].NamespaceSelector == nil {
			t.Errorf("%s allows %+v", p.Name, reached)
		}
		if flavour(d) == config.FlavourEdge && (len(reached["edges"]) != 1 || !matches(t, reached["edges"][0].PodSelector, d)) {
			t.Errorf("%s lets edges be reached by %+v", p.Name, reached["edges"])
		}
		if slices.Contains(p.Spec.PolicyTypes, networking.PolicyTypeEgress) {
			t.Errorf("%s bounds what pods reach", p.Name)
		}
	}
	values := readSet(t, "gateway")
	values["networkPolicy"] = map[string]any{"monitoring": []any{}}
	for _, p := range all[*networking.NetworkPolicy](newRelease(t, values)) {
		for _, rule := range p.Spec.Ingress {
			if rule.Ports[0].Port.String() == "admin" {
				t.Errorf("without monitoring, %s lets %v reach the admin port", p.Name, rule.From)
			}
		}
	}
	if p := all[*networking.NetworkPolicy](newRelease(t, readSet(t, "production")))[0]; len(p.Spec.Egress) != 2 || len(p.Spec.PolicyTypes) != 2 {
		t.Errorf("with egress: %+v", p.Spec)
	}
}
