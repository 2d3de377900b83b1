package docs_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// person is a client of the example.
type person struct {
	*enginetest.Client
	head string // the namespace in packets: "" or "/chat,"
	live bool
	acks int // number of acks wanted so far

	pid, offset string // with which the client comes back; "" in a namespace without recovery
}

// stored is an event as the client receives it: with an offset in a namespace with recovery.
func (p *person) stored(event string) string {
	if p.pid == "" {
		return event
	}
	return strings.TrimSuffix(event, "]") + `,"…"]`
}

// wants reads the next packet, in which … of the document is anything. Like the official client it keeps the string at
// the end.
func (p *person) wants(s *scene, want string) {
	s.t.Helper()
	got := p.Next()
	if !like(got, want) {
		s.t.Fatalf("received %s, want %s", got, want)
	}
	if last := strings.Split(got, `"`); p.pid != "" && strings.HasSuffix(got, `"]`) {
		p.offset = last[len(last)-2]
	}
}

func (s *scene) person(name, namespace string) *person {
	p := s.people[name]
	if p == nil {
		p = &person{Client: s.node.Dial(name)}
		s.people[name] = p
	}
	if namespace != "" && namespace != "/" {
		p.head = namespace + ","
	}
	return p
}

func (s *scene) connects(m []string) {
	s.t.Helper()
	p := s.person(m[0], m[1])
	s.ids[m[3]], p.pid, _ = strings.Cut(p.Connect(m[1], m[2]), `","pid":"`)
	p.live = true
}

func (s *scene) breaks(m []string) {
	p := s.person(m[0], "")
	p.Hangup()
	p.live = false
}

func (s *scene) comesBack(m []string) {
	p := s.person(m[0], m[1])
	p.Client = s.node.Dial(m[0])
	p.Send(fmt.Sprintf(`40%s{"pid":%q,"offset":%q}`, p.head, p.pid, p.offset))
}

func (s *scene) again(m []string) {
	s.t.Helper()
	p := s.person(m[0], "")
	p.Expect(fmt.Sprintf(`40%s{"sid":%q,"pid":%q}`, p.head, m[1], p.pid))
	p.live = true
}

func (s *scene) refused(m []string) {
	s.t.Helper()
	p := s.person(m[0], m[1])
	p.Send("40" + p.head)
	p.Expect("44" + p.head + m[2])
}

func (s *scene) disconnects(m []string) {
	p := s.person(m[0], m[1])
	p.Send("41" + p.head)
	p.live = false
}

func (s *scene) disconnected(m []string) {
	s.t.Helper()
	p := s.person(m[0], m[1])
	p.Expect("41" + p.head)
	p.live = false
}

func (s *scene) closed(m []string) {
	s.t.Helper()
	p := s.person(m[0], "")
	if text, open := p.Await(); open {
		s.t.Fatalf("%s received %s", m[0], text)
	}
	p.live = false
}

func (s *scene) emits(m []string) {
	p := s.person(m[0], "")
	attachments := list(m[3])
	kind, id := "42", ""
	if len(attachments) > 0 {
		kind = fmt.Sprintf("45%d-", len(attachments))
	}
	if m[2] != "" {
		id = fmt.Sprint(p.acks)
		p.acks++
	}
	p.Send(kind + p.head + id + m[1])
	for _, a := range attachments {
		p.SendBinary([]byte(a))
	}
}

func (s *scene) receives(m []string) {
	s.t.Helper()
	p := s.person(m[0], "")
	attachments := list(m[2])
	kind := "42"
	if len(attachments) > 0 {
		kind = fmt.Sprintf("45%d-", len(attachments))
	}
	p.wants(s, kind+p.head+m[1])
	for _, a := range attachments {
		p.Expect("b" + a)
	}
}

// acks makes a client receive an event that wants an ack, and send the ack, or not.
func (s *scene) acks(m []string) {
	s.t.Helper()
	p := s.person(m[0], "")
	got := p.Next()
	id, isEvent := strings.CutSuffix(strings.TrimPrefix(got, "42"+p.head), m[1])
	if _, err := strconv.Atoi(id); err != nil || !isEvent {
		s.t.Fatalf("%s received %s, want %s that wants an ack", m[0], got, m[1])
	}
	if m[2] == "" {
		return
	}
	attachments := list(m[3])
	kind := "43"
	if len(attachments) > 0 {
		kind = fmt.Sprintf("46%d-", len(attachments))
	}
	p.Send(kind + p.head + id + m[2])
	for _, a := range attachments {
		p.SendBinary([]byte(a))
	}
}

func (s *scene) acked(m []string) {
	s.t.Helper()
	p := s.person(m[0], "")
	p.Expect(fmt.Sprintf("43%s%d%s", p.head, p.acks-1, m[1]))
}

func (s *scene) hears(m []string) {
	s.t.Helper()
	select {
	case s.last = <-s.heard:
	case <-time.After(edgetest.Patience):
		s.t.Fatalf("not received: %s %s", m[0], m[1])
	}
	if s.last.Subject != m[0] || !like(string(s.last.Data), m[1]) {
		s.t.Fatalf("received %s %s, want %s %s", s.last.Subject, s.last.Data, m[0], m[1])
	}
}

func (s *scene) answered(m []string) {
	s.t.Helper()
	select {
	case s.last = <-s.answers:
	case <-time.After(edgetest.Patience):
		s.t.Fatalf("no answer where %s was expected", m[0])
	}
	if !like(string(s.last.Data), m[0]) {
		s.t.Fatalf("answered %s %v, want %s", s.last.Data, s.last.Header, m[0])
	}
}

func (s *scene) hasReply(m []string) {
	s.t.Helper()
	if s.last.Reply != m[0] {
		s.t.Fatalf("reply subject %s, want %s", s.last.Reply, m[0])
	}
}

func (s *scene) hasHeader(m []string) {
	s.t.Helper()
	if got := s.last.Header.Get(m[0]); got != m[1] {
		s.t.Fatalf("header %s: %q, want %q; all: %v", m[0], got, m[1], s.last.Header)
	}
}

// like compares a text with a pattern in which … matches any characters.
func like(text, pattern string) bool {
	quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), "…", ".*")
	return regexp.MustCompile("^(?s:" + quoted + ")$").MatchString(text)
}

// list splits "abc, de".
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ", ")
}
