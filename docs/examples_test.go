package docs_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// TestExamples runs every block of shell lines in the contract. The lines are executed with nats.go as the nats
// command would. The comments specify what clients do, and what they and the commands must receive.
func TestExamples(t *testing.T) {
	namespaces := exampleNamespaces(t)
	for _, b := range blocks(t, "subjects.md", "sh") {
		t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
			s := newScene(t, usedBy(b, namespaces))
			for i, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				s.talk("subjects.md:%d: %s", b.line+i, line)
				s.line(line)
			}
			s.end()
		})
	}
}

// usedBy returns the namespaces of a block: those with a log, which need JetStream, only if it names them.
func usedBy(b block, namespaces map[string]rule.Namespace) map[string]rule.Namespace {
	used := maps.Clone(namespaces)
	maps.DeleteFunc(used, func(name string, n rule.Namespace) bool { return n.IsLogged() && !strings.Contains(b.text, name) })
	return used
}

// exampleNamespaces reads the configuration in the document.
func exampleNamespaces(t *testing.T) map[string]rule.Namespace {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, theBlock(t, "subjects.md", "yaml"))
	loaded, err := config.Load(config.FlavourEdge, []string{"--config", file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Config.Namespaces
}

// scene is one block while it runs: an edge, a NATS client, and the people of the example.
type scene struct {
	t       *testing.T
	node    *edgetest.Node
	nc      *nats.Conn
	heard   chan *nats.Msg // what `nats sub` prints
	answers chan *nats.Msg // what `nats request` prints
	last    *nats.Msg      // the message to which lines about reply and header refer
	people  map[string]*person
	ids     map[string]string // $ANN → the socket's id
}

func newScene(t *testing.T, namespaces map[string]rule.Namespace) *scene {
	t.Helper()
	server := natsdtest.Start(t, "jetstream { store_dir: "+strconv.Quote(t.TempDir())+" }")
	nc := edgetest.Connect(t, server.ClientURL())
	return &scene{
		t: t, nc: nc, node: edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces}).Ready(),
		heard: make(chan *nats.Msg, 1000), answers: make(chan *nats.Msg, 1000), people: map[string]*person{}, ids: map[string]string{},
	}
}

func (s *scene) talk(format string, args ...any) { s.node.Talk.Note(format, args...) }

func (s *scene) line(line string) {
	s.t.Helper()
	comment, isComment := strings.CutPrefix(line, "#")
	if !isComment {
		s.command(words(s.t, line, s.ids))
		return
	}
	comment = s.expand(strings.TrimSpace(comment))
	for _, f := range forms {
		if m := f.pattern.FindStringSubmatch(comment); m != nil {
			f.act(s, m[1:])
			return
		}
	}
	s.t.Fatalf("no form of comment: %s", line)
}

// expand replaces the variables of the known ids.
func (s *scene) expand(text string) string {
	for name, id := range s.ids {
		text = strings.ReplaceAll(text, name, id)
	}
	return text
}

// end checks that nothing was received that the document does not show.
func (s *scene) end() {
	s.t.Helper()
	for _, p := range s.people {
		if p.live {
			s.publish("sio."+strings.Trim(p.head, "/,")+".emit.all", `["the end"]`, nil, "")
			break
		}
	}
	for _, p := range s.people {
		if p.live {
			p.wants(s, "42"+p.head+p.stored(`["the end"]`))
		}
	}
	if len(s.heard) > 0 {
		m := <-s.heard
		s.t.Errorf("received, but not in the document: %s %s", m.Subject, m.Data)
	}
	if len(s.answers) > 0 {
		m := <-s.answers
		s.t.Errorf("answered, but not in the document: %s %v", m.Data, m.Header)
	}
}

// command executes a line of the nats command, in the few forms that the document uses.
func (s *scene) command(line []string) {
	s.t.Helper()
	var args []string
	var reply string
	header := nats.Header{}
	background := false
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case "-H":
			i++
			name, value, _ := strings.Cut(line[i], ":")
			header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		case "--reply":
			i++
			reply = line[i]
		case "--replies", "--timeout": // how long it listens; here, until the end
			i++
		case "&":
			background = true
		default:
			args = append(args, line[i])
		}
	}
	if len(args) < 3 || args[0] != "nats" {
		s.t.Fatalf("no form of command: %q", line)
	}
	body := strings.Join(args[3:], " ")
	var err error
	switch args[1] {
	case "sub":
		_, err = s.nc.ChanSubscribe(args[2], s.heard)
	case "reply":
		_, err = s.nc.QueueSubscribe(args[2], "NATS-RPLY-22", func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: maps.Clone(header), Data: []byte(body)})
		})
	case "pub":
		if strings.HasSuffix(args[2], ".hello") { // the answer shows that the edge knows the instance before a client comes
			_, err = s.nc.Request(args[2], []byte(body), edgetest.Patience)
			break
		}
		s.publish(args[2], body, header, reply)
	case "request":
		if background {
			inbox := nats.NewInbox()
			if _, err = s.nc.ChanSubscribe(inbox, s.answers); err == nil {
				s.publish(args[2], body, header, inbox)
			}
			break
		}
		var answer *nats.Msg
		if answer, err = s.nc.RequestMsg(&nats.Msg{Subject: args[2], Header: header, Data: []byte(body)}, edgetest.Patience); err == nil {
			s.answers <- answer
		}
	default:
		s.t.Fatalf("no form of command: %q", line)
	}
	if err == nil {
		err = s.nc.Flush()
	}
	if err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
}

func (s *scene) publish(subject, body string, header nats.Header, reply string) {
	s.t.Helper()
	if err := s.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: header, Data: []byte(body)}); err != nil {
		s.t.Fatal(err)
	}
}

// forms are the comments with a meaning, tried in this order.
var forms = []struct {
	pattern *regexp.Regexp
	act     func(*scene, []string)
}{

	{regexp.MustCompile(`^(\w+) connects to (\S+)(?: with (\{.*\}))? as (\$\w+)$`), (*scene).connects},

	{regexp.MustCompile(`^(\w+) comes back to (\S+)$`), (*scene).comesBack},

	{regexp.MustCompile(`^(\w+) is connected again as (\S+)$`), (*scene).again},

	{regexp.MustCompile(`^(\w+)'s connection breaks$`), (*scene).breaks},

	{regexp.MustCompile(`^(\w+) is refused by (\S+): (.*)$`), (*scene).refused},

	{regexp.MustCompile(`^(\w+) disconnects from (\S+)$`), (*scene).disconnects},

	{regexp.MustCompile(`^(\w+) is disconnected from (\S+)$`), (*scene).disconnected},

	{regexp.MustCompile(`^(\w+)'s connection is closed$`), (*scene).closed},

	{regexp.MustCompile(`^(\w+) emits (\[.*\])( with an ack)?(?: and the bytes (.*))?$`), (*scene).emits},

	{regexp.MustCompile(`^(\w+) receives (\[.*\]) and (?:does not ack|acks (\[.*\])(?: with the bytes (.*))?)$`), (*scene).acks},

	{regexp.MustCompile(`^(\w+) receives (\[.*\])(?: and the bytes (.*))?$`), (*scene).receives},

	{regexp.MustCompile(`^(\w+)'s ack (\[.*\])$`), (*scene).acked},

	{regexp.MustCompile(`^heard (\S+) (.*)$`), (*scene).hears},

	{regexp.MustCompile(`^answered ?(.*)$`), (*scene).answered},

	{regexp.MustCompile(`^reply (\S+)$`), (*scene).hasReply},

	{regexp.MustCompile(`^header ([\w-]+): (.*)$`), (*scene).hasHeader},
}

// words splits a line as a shell does: single quotes, and double quotes and bare words with variables.
func words(t *testing.T, line string, variables map[string]string) []string {
	t.Helper()
	var out []string
	for rest := strings.TrimLeft(line, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		var word string
		found := true
		switch rest[0] {
		case '\'':
			word, rest, found = strings.Cut(rest[1:], "'")
		case '"':
			word, rest, found = strings.Cut(rest[1:], `"`)
			word = substitute(t, word, variables)
		default:
			word, rest, _ = strings.Cut(rest, " ")
			word = substitute(t, word, variables)
		}
		if !found {
			t.Fatalf("a quote is not closed: %s", line)
		}
		out = append(out, word)
	}
	return out
}

var variable = regexp.MustCompile(`\$\w+`)

func substitute(t *testing.T, text string, variables map[string]string) string {
	t.Helper()
	return variable.ReplaceAllStringFunc(text, func(name string) string {
		value, known := variables[name]
		if !known {
			t.Fatalf("%s has no value yet", name)
		}
		return value
	})
}
