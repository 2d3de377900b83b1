package adminui_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"partyline/backend"
	"partyline/engine/enginetest"
	"partyline/gateway/adminui"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	goleak.VerifyTestMain(m)
}

const password = "open sesame"

// stage is NATS, edges, and instances of the UI.
type stage struct {
	t     testing.TB
	nats  *natsdtest.Server
	edges []*edgetest.Node
}

func begin(t *testing.T, edges int, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("edges are asked every 5 seconds")
	}
	t.Parallel()
	s := &stage{t: t, nats: natsdtest.Start(t)}
	namespaces := edgetest.Open()
	namespaces[adminui.Namespace] = rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout}
	for range edges {
		o := edgetest.Options{NATS: s.nats.ClientURL(), Namespaces: namespaces, Secret: "5ecret"}
		for _, c := range change {
			c(&o)
		}
		s.edges = append(s.edges, edgetest.Start(t, o))
	}
	for _, e := range s.edges {
		e.Ready()
		edgetest.Eventually(t, "the edges know each other", func() bool { return len(e.Cluster.Edges()) == edges })
	}
	return s
}

// users are those of the tests: ann, with a hash that is quickly compared.
func users(t testing.TB) adminui.Users {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return adminui.Users{"ann": string(hash)}
}

// instance is a running UI with its service.
type instance struct {
	*adminui.UI
	service *backend.Service
	stop    func()
}

// start runs an instance until it is stopped, or the test ends.
func (s *stage) start(o adminui.Options) *instance {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(noteWriter{s.edges[0].Talk}, nil))
	service, err := backend.New(edgetest.Connect(s.t, s.nats.ClientURL()), "gateway", backend.Logger(log), backend.EdgesSecret("5ecret"))
	if err != nil {
		s.t.Fatal(err)
	}
	o.Service, o.Log = service, log
	ui, err := adminui.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := service.Start(edgetest.Patient(s.t)); err != nil {
		s.t.Fatal(err)
	}
	i := &instance{UI: ui, service: service}
	i.stop = func() {
		if err := service.Close(edgetest.Patient(s.t)); err != nil {
			s.t.Errorf("Close: %v", err)
		}
		ui.Close()
	}
	s.t.Cleanup(i.stop)
	return i
}

type noteWriter struct{ talk *enginetest.Conversation }

func (w noteWriter) Write(p []byte) (int, error) {
	w.talk.Note("log: %s", p)
	return len(p), nil
}

// figure reads a metric of the UI.
func (i *instance) figure(name, label string) int {
	for _, m := range i.Metrics().Metrics() {
		if m.Name == name && m.Value() == label {
			return int(m.Read())
		}
	}
	panic("no metric " + name + " " + label)
}

// page is a page of the Admin UI: it shows what its event handlers would.
type page struct {
	*enginetest.Client
	t        testing.TB
	features []string
	session  string
	sockets  map[string]*shown // by namespace and id, with a space between them
	servers  map[string]map[string]any
	counts   map[string]int // aggregated events, by kind
	log      []string       // the events about sockets
}

type shown struct {
	ID, ClientID, Transport, NSP string
	Data                         json.RawMessage
	Handshake                    map[string]any
	Rooms                        []string
}

// open connects a page; auth is JSON.
func (s *stage) open(edge int, auth string) *page {
	s.t.Helper()
	p := &page{Client: s.edges[edge].Dial("page"), t: s.t, sockets: map[string]*shown{}, servers: map[string]map[string]any{}, counts: map[string]int{}}
	p.Connect(adminui.Namespace, auth)
	return p
}

// dial opens a session at the first edge, whose handshake has headers.
func (s *stage) dial(name string, headers http.Header) *enginetest.Client {
	s.t.Helper()
	return enginetest.Dial(s.t, s.edges[0].Talk, name, s.edges[0].URL, headers)
}

// refused connects a page that is refused, and returns the message.
func (s *stage) refused(edge int, auth string) string {
	s.t.Helper()
	c := s.edges[edge].Dial("refused")
	c.Send("40/admin," + auth)
	var body struct{ Message string }
	text := c.Next()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "44/admin,")), &body); err != nil {
		s.t.Fatalf("the page got %s", text)
	}
	return body.Message
}

// until reads events until something is true.
func (p *page) until(what string, isTrue func() bool) {
	p.t.Helper()
	for end := time.Now().Add(edgetest.Patience); !isTrue(); {
		if time.Now().After(end) {
			p.t.Fatalf("the page never shows that %s", what)
		}
		if text, isEvent := strings.CutPrefix(p.Next(), "42/admin,"); isEvent {
			p.apply(text)
		}
	}
}

// apply does what the page's store does (ui/src/store/modules/main.js).
func (p *page) apply(text string) {
	p.t.Helper()
	var event []json.RawMessage
	p.read([]byte(text), &event)
	name := strings.Trim(string(event[0]), `"`)
	arg := func(i int) (s string) {
		p.read(event[i], &s)
		return s
	}
	switch name {
	case "session":
		p.session = arg(1)
	case "config":
		var config struct{ SupportedFeatures []string }
		p.read(event[1], &config)
		p.features = config.SupportedFeatures
	case "server_stats":
		var stats map[string]any
		p.read(event[1], &stats)
		p.servers[stats["serverId"].(string)] = stats
		for _, e := range stats["aggregatedEvents"].([]any) {
			e := e.(map[string]any)
			p.counts[e["type"].(string)] += int(e["count"].(float64))
		}
	case "all_sockets":
		var all []*shown
		p.read(event[1], &all)
		clear(p.sockets)
		for _, so := range all {
			p.sockets[so.NSP+" "+so.ID] = so
		}
	case "socket_connected":
		var so *shown
		p.read(event[1], &so)
		p.sockets[so.NSP+" "+so.ID] = so
	case "socket_updated":
		var so shown
		p.read(event[1], &so)
		known := p.sockets[so.NSP+" "+so.ID]
		known.Data, known.Transport = so.Data, so.Transport
	case "socket_disconnected":
		delete(p.sockets, arg(1)+" "+arg(2))
	case "room_joined":
		so := p.sockets[arg(1)+" "+arg(3)]
		so.Rooms = append(so.Rooms, arg(2))
	case "room_left":
		so := p.sockets[arg(1)+" "+arg(3)]
		so.Rooms = slices.DeleteFunc(so.Rooms, func(room string) bool { return room == arg(2) })
	default:
		p.t.Fatalf("the page got %s", text)
	}
	if strings.HasPrefix(name, "socket_") || strings.HasPrefix(name, "room_") {
		p.log = append(p.log, name)
	}
}

func (p *page) read(text []byte, target any) {
	p.t.Helper()
	if err := json.Unmarshal(text, target); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
}

// shows waits until the page shows exactly these sockets of a namespace.
func (p *page) shows(namespace string, ids ...string) {
	p.t.Helper()
	p.until(namespace+" has the sockets "+strings.Join(ids, ", "), func() bool {
		var found []string
		for _, so := range p.sockets {
			if so.NSP == namespace {
				found = append(found, so.ID)
			}
		}
		slices.Sort(found)
		return p.features != nil && slices.Equal(found, slices.Sorted(slices.Values(ids)))
	})
}

// emit sends a command.
func (p *page) emit(body string) { p.Send("42/admin," + body) }

// socketsOf returns what a server has in a namespace, as the page shows it.
func (p *page) socketsOf(edge, namespace string) (sockets int) {
	namespaces, _ := p.servers[edge]["namespaces"].([]any)
	for _, ns := range namespaces {
		if ns := ns.(map[string]any); ns["name"] == namespace {
			sockets += int(ns["socketsCount"].(float64))
		}
	}
	return sockets
}

func (p *page) edges() []string { return slices.Sorted(maps.Keys(p.servers)) }
