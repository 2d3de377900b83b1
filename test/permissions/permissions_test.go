package permissions

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// Everything that the three users are for works, and NATS refuses them nothing.
func TestEachCanDoItsWork(t *testing.T) {
	s := begin(t)
	service, news := s.as("chat"), s.as("news")
	ann, bob := s.ann, s.bob

	// The edge: events with and without an ack, users, relays, joins, notices.
	service.answer("sio.chat.on.sum", `[3]`)
	ann.Send(`42/chat,0["sum",1,2]`)
	ann.Expect(`43/chat,0[3]`)
	heard := service.Hear("sio.chat.on.>")
	ann.Send(`42/chat,["order.created",7]`)
	m, err := heard.NextMsg(edgetest.Patience)
	if err != nil || m.Subject != "sio.chat.on.order.created" || m.Header.Get("Sio-User") != "u" ||
		m.Reply != "sio.chat.emit.socket."+ann.ID {
		t.Fatalf("the service heard %v, %v", m, err)
	}
	if err := m.Respond([]byte(`["thanks"]`)); err != nil {
		t.Fatal(err)
	}
	ann.Expect(`42/chat,["thanks"]`)
	ann.Send(`42/chat,1["join","mine"]`)
	ann.Expect(`43/chat,1[{"ok":true}]`)
	ann.Send(`42/chat,2["leave","mine"]`)
	ann.Expect(`43/chat,2[{"ok":true}]`)
	ann.Send(`42/chat,["shout","hey"]`)
	bob.Expect(`42/chat,["shout","hey"]`)
	ann.Send(fmt.Sprintf(`42/chat,["direct",%q]`, bob.ID))
	bob.Expect(fmt.Sprintf(`42/chat,["direct",%q]`, bob.ID))
	s.fine()

	// The service: every verb to every target.
	for _, target := range []string{"all", "room.news", "socket." + ann.ID} {
		for _, change := range []struct{ verb, body string }{{"join", `["vip"]`}, {"leave", `["vip"]`}, {"grant", `[{"emit":null}]`}} {
			answer, err := service.NC.Request("sio.chat."+change.verb+"."+target, []byte(change.body), edgetest.Patience)
			if err != nil || answer.Header != nil || !strings.HasPrefix(string(answer.Data), `[{"edge":"`+s.ID+`","sockets":`) {
				t.Fatalf("%s %s: %v %v", change.verb, target, answer, err)
			}
		}
		service.publish("sio.chat.emit."+target, "", `["emit"]`)
		ann.Expect(`42/chat,["emit"]`)
		if !strings.HasPrefix(target, "socket") {
			bob.Expect(`42/chat,["emit"]`)
			service.publish("sio.chat.broadcast."+target, "sio.chat.emit.socket."+ann.ID, `["broadcast"]`)
			bob.Expect(`42/chat,["broadcast"]`)
		}
		asksAndIsAnswered(t, s, service, target)
	}
	for _, verb := range []string{"pause", "resume"} {
		answer, err := service.NC.Request("sio.chat."+verb+".socket."+ann.ID, []byte(`["chat-1"]`), edgetest.Patience)
		if err != nil || answer.Header != nil || string(answer.Data) != `[{"edge":"`+s.ID+`","sockets":1}]` {
			t.Fatalf("%s: %v %v", verb, answer, err)
		}
	}
	s.fine()

	// The publisher.
	news.publish("sio.chat.emit.room.news", "", `["headline"]`)
	ann.Expect(`42/chat,["headline"]`)
	bob.Expect(`42/chat,["headline"]`)
	s.fine()

	carl := s.Enter("carl", "/chat")
	if answer, err := service.NC.Request("sio.chat.disconnect.socket."+carl.ID, nil, edgetest.Patience); err != nil ||
		answer.Header != nil {
		t.Fatalf("disconnect: %v %v", answer, err)
	}
	carl.Expect(`41/chat,`)
	for {
		m, err := heard.NextMsg(edgetest.Patience)
		if err != nil {
			t.Fatalf("the service does not hear that carl has gone: %v", err)
		}
		if m.Subject == "sio.chat.on.disconnect" && m.Reply == "sio.chat.emit.socket."+carl.ID {
			break
		}
	}
	service.unhindered()
	news.unhindered()
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things:\n%s", n, strings.Join(s.Logged(), "\n"))
	}
}

// asksAndIsAnswered has a service send requests to clients and edges.
func asksAndIsAnswered(t *testing.T, s *stage, service *user, target string) {
	t.Helper()
	for verb, body := range map[string]string{"fetch": "", "rooms": "[]", "data": `[{"x":1}]`} {
		answer, err := service.NC.Request("sio.chat."+verb+"."+target, []byte(body), edgetest.Patience)
		if err != nil || answer.Header != nil || !strings.HasPrefix(string(answer.Data), `[{"edge":"`+s.ID+`","sockets":`) {
			t.Fatalf("%s %s: %v %v", verb, target, answer, err)
		}
	}
	inbox := service.NC.NewInbox()
	answers := service.Hear(inbox)
	service.publish("sio.chat.ask."+target, inbox, `["ready?"]`)
	asked, want := []*socket{s.ann}, 1
	if !strings.HasPrefix(target, "socket") {
		asked, want = append(asked, s.bob), 3 // and what to expect
	}
	for _, so := range asked {
		id := strings.TrimSuffix(strings.TrimPrefix(so.Next(), "42/chat,"), `["ready?"]`)
		so.Send("43/chat," + id + `["yes"]`)
	}
	for range want {
		if m, err := answers.NextMsg(edgetest.Patience); err != nil || m.Header.Get("Sio-Error") != "" {
			t.Fatalf("ask %s: %v %v", target, m, err)
		}
	}
}

// NATS refuses everything else, and no client notices.
func TestNobodyCanDoMore(t *testing.T) {
	s := begin(t)
	for name, subjects := range map[string]struct{ publish, subscribe []string }{
		"edge": {
			publish: []string{
				"sio.chat.ask.all", "sio.chat.fetch.all", "sio.chat.data.all", "sio.chat.rooms.all",
				"sio.chat.join.all", "sio.chat.leave.all", "sio.chat.disconnect.all", "sio.chat.grant.all", "sio.chat.ack." + s.ann.ID + ".1",
				"orders.new",
				"$SYS.REQ.SERVER.PING", "$JS.API.INFO", "sio.$svc.x", "other.chat.emit.all",
				"sio.$svc.chat.chat-1.beat", "sio.$svc.chat.chat-1.left", "sio.chat.service.x", "sio.chat.member.room.x", "sio.chat.fetch.room.x",
				"sio.chat.pause.socket." + s.ann.ID, "sio.chat.resume.socket." + s.ann.ID,
			},
			subscribe: []string{">", "sio.>", "sio.chat.on.>", "sio.*.on.connect", "_INBOX.>", "$SYS.>", "orders.>"},
		},
		"chat": {
			publish: []string{
				"sio.secret.emit.all", "sio.secret.emit.socket." + s.secret.ID, "sio.secret.join.all",
				"sio.secret.disconnect.socket." + s.secret.ID, "sio.secret.grant.socket." + s.secret.ID,
				"sio.secret.ask.all", "sio.secret.ask.socket." + s.secret.ID, "sio.secret.fetch.all", "sio.secret.data.all",
				"sio.secret.rooms.all",
				"sio.secret.ack." + s.secret.ID + ".1", "sio._.emit.all", "sio.chat.on.message", "sio.chat.on.connect",
				"sio.$edge.x", "_INBOX.admin.x", "orders.new", "sio.chat.member.room.x", "sio.secret.member.room.x",
				"sio.$edge." + s.ID + ".beat", "sio.$edge." + s.ID + ".gone", "sio.$svc.other.other-1.left",
				"sio.chat.own.chat-1.message", "sio.chat.own.chat.connect", "sio.chat.own.chat-1.connect", "sio.secret.own.chat.x", "sio.secret.service.x",
				"sio.secret.pause.socket." + s.secret.ID, "sio.secret.resume.socket." + s.secret.ID,
			},
			subscribe: []string{">", "sio.>", "sio.*.on.>", "sio.secret.on.>", "sio.secret.own.>", "sio.$svc.other.>",
				"sio.chat.emit.>", "sio.chat.ack.>", "sio.secret.member.>", "sio.$edge.>", "_INBOX.>", "_INBOX.admin.>"},
		},
		"news": {
			publish: []string{
				"sio.chat.emit.all", "sio.chat.emit.socket." + s.ann.ID, "sio.chat.broadcast.room.news", "sio.chat.join.room.news",
				"sio.chat.ask.room.news", "sio.chat.fetch.room.news", "sio.chat.data.room.news", "sio.chat.rooms.room.news",
				"sio.chat.leave.room.news", "sio.chat.disconnect.room.news", "sio.chat.grant.room.news", "sio.chat.ack." + s.ann.ID + ".1",
				"sio.secret.emit.room.vault", "sio.chat.on.message",
				"sio.chat.own.chat-1.message", "sio.chat.service.x", "sio.$svc.chat.chat-1.left", "sio.$edge." + s.ID + ".bye",
				"sio.$edge." + s.ID + ".pong.x",
			},
			subscribe: []string{">", "sio.chat.on.>", "sio.chat.own.>", "sio.chat.member.>", "sio.chat.service.>", "sio.$edge.*.*", "sio.$svc.>",
				"sio.chat.emit.room.news", "_INBOX.>", "_INBOX.news.>"},
		},
	} {
		u := s.as(name)
		for _, subject := range subjects.publish {
			u.publish(subject, "", `["forbidden"]`)
			u.mayNot("publish", subject)
		}
		for _, subject := range subjects.subscribe {
			u.Hear(subject)
			u.mayNot("subscription", subject)
		}
		s.fine()
	}
}

// confused is a request that a user may make, with a reply subject on which the user may not publish. The edge may
// publish on many of these, but must not do so for the user.
func TestReplySubjectsOfOthers(t *testing.T) {
	s := begin(t)
	service := s.as("chat")
	all := s.admin.Hear(">")
	before := s.Figure("answers_withheld_total", "")
	replies := []string{
		// An edge may publish on these, the requester may not.
		"sio.secret.emit.all", "sio.secret.emit.room.vault", "sio.secret.emit.socket." + s.secret.ID,
		"sio.secret.broadcast.all",
		"sio.secret.on.message", "sio.secret.on.connect", "sio.chat.on.message", "sio.$edge.x",
		// Neither may publish on these.
		"sio.secret.join.all", "sio.secret.disconnect.all", "sio.secret.ack." + s.secret.ID + ".1", "$SYS.REQ.SERVER.PING",
		"$JS.API.STREAM.DELETE.EVENTS",
		// Nor on those where the requester may publish: an answer is not an event.
		"sio.chat.emit.all", "sio.chat.emit.room.news", "sio.chat.ack." + s.ann.ID + ".1", "sio.chat.join.all",
		// Nor on subjects of others.
		"sio2.c.emit.all", "payments.create",
	}
	withheld := 0
	for _, reply := range replies {
		for _, c := range []struct{ subject, body string }{
			{"sio.chat.join.socket." + s.ann.ID, `["x"]`},                       // [{"edge":…}]
			{"sio.chat.leave.room.news", `["x"]`},                               // the same
			{"sio.chat.join.all", `{}`},                                         // Sio-Error: body …
			{"sio.chat.join.socket." + s.ID + ".AAAAAAAAAAAAAAAAAAAA", `["x"]`}, // Sio-Error: unknown socket
			{"sio.chat.disconnect.socket." + s.secret.ID, ``},                   // the same: it is not in /chat
			{"sio.chat.ask.all", `["x"]`},                                       // Sio-Expect
			{"sio.chat.ask.room.news", `[]`},                                    // Sio-Error: bad event …
			{"sio.chat.fetch.all", ``},                                          // [{"edge":…}, …]
			{"sio.chat.rooms.socket." + s.ann.ID, ``},                           // the same
			{"sio.chat.data.socket." + s.ann.ID, `[{}]`},                        // [{"edge":…}]
		} {
			service.publish(c.subject, reply, c.body)
			withheld++
		}
		s.fine()
	}
	edgetest.Eventually(t, "each answer is withheld and counted",
		func() bool { return s.Figure("answers_withheld_total", "") == before+withheld })
	for _, m := range heardSoFar(t, s, all) {
		for _, reply := range replies {
			if m.Subject == reply && (strings.Contains(string(m.Data), `"edge"`) || m.Header.Get("Sio-Error") != "") {
				t.Errorf("the edge answered on %s: %s %v", m.Subject, m.Data, m.Header)
			}
		}
	}
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("the edge tried %d things that NATS refused", n)
	}
	// The edge's configuration allows answers there, and NATS does not.
	for range 3 {
		service.publish("sio.chat.join.socket."+s.ann.ID, "orders.delete", `["x"]`)
	}
	edgetest.Eventually(t, "NATS refuses the edge", func() bool { return s.Figure("nats_errors_total", "") == 3 })
	s.fine()
	for _, m := range heardSoFar(t, s, all) {
		if m.Subject == "orders.delete" {
			t.Errorf("the edge answered on %s: %s", m.Subject, m.Data)
		}
	}
	service.unhindered()
	if n := strings.Count(strings.Join(s.Logged(), "\n"), "orders.delete"); n != 1 {
		t.Errorf("the log has %d lines about the refused answers, want one a minute", n)
	}
}

// heardSoFar returns all that the admin has received.
func heardSoFar(t *testing.T, s *stage, all *edgetest.Ear) (list []*nats.Msg) {
	t.Helper()
	end := s.admin.NC.NewInbox()
	s.admin.publish(end, "", "")
	for {
		m := all.Next()
		if m.Subject == end {
			return list
		}
		list = append(list, m)
	}
}

// The reply subject of an emit is ignored, whatever it names.
func TestEmitNeverAnswers(t *testing.T) {
	s := begin(t)
	news := s.as("news")
	all := s.admin.Hear(">")
	replies := []string{"sio.secret.emit.all", "sio.chat.emit.all", "sio.chat.emit.socket." + s.bob.ID,
		"sio.chat.join.all", "_INBOX.admin.x", "orders.delete"}
	for _, reply := range replies {
		news.publish("sio.chat.emit.room.news", reply, `["headline"]`)
		s.ann.Expect(`42/chat,["headline"]`)
		s.bob.Expect(`42/chat,["headline"]`) // emit excludes no socket
		news.publish("sio.chat.emit.room.news", reply, `[]`)
		s.fine()
	}
	for _, m := range heardSoFar(t, s, all) {
		for _, reply := range replies {
			if m.Subject == reply {
				t.Errorf("on %s came %q %v", m.Subject, m.Data, m.Header)
			}
		}
	}
	news.unhindered()
}

// A user of one namespace reaches no socket of another: neither by its id in a subject, a reply subject or a header,
// nor by what its own clients send.
func TestSocketsOfAnotherNamespaceAreOutOfReach(t *testing.T) {
	s := begin(t)
	service, news := s.as("chat"), s.as("news")
	id := s.secret.ID
	for _, subject := range []string{"sio.chat.emit.socket." + id, "sio.chat.ack." + id + ".1",
		"sio.chat.ack." + id + ".connect"} {
		service.publish(subject, "", `["forbidden"]`)
	}
	for verb, body := range map[string]string{
		"join": `["news"]`, "leave": `["vault"]`, "disconnect": `[true]`, "ask": `["forbidden"]`, "fetch": ``, "rooms": ``,
		"data": `[{"forbidden":1}]`,
	} {
		answer, err := service.NC.Request("sio.chat."+verb+".socket."+id, []byte(body), edgetest.Patience)
		if err != nil || answer.Header.Get("Sio-Error") != "unknown socket" {
			t.Errorf("%s: %v %v", verb, answer, err)
		}
	}
	service.publish("sio.chat.emit.all", "", `["forbidden"]`, "Sio-Rooms: "+id, "Sio-Rooms: vault")
	service.publish("sio.chat.broadcast.room.vault", "", `["forbidden"]`)
	news.publish("sio.chat.emit.room.vault", "", `["forbidden"]`)
	news.publish("sio.chat.emit.room."+id, "", `["forbidden"]`)
	// names no socket of this namespace
	service.publish("sio.chat.broadcast.all", "sio.secret.emit.socket."+id, `["all of us"]`)
	s.ann.Expect(`42/chat,["all of us"]`)
	s.bob.Expect(`42/chat,["all of us"]`)
	s.ann.Send(fmt.Sprintf(`42/chat,["direct",%q]`, id))
	s.fine()
	service.unhindered()
	news.unhindered()
}

// Only the service of a namespace can admit sockets to it.
func TestOnlyTheServiceAdmits(t *testing.T) {
	server := begin(t)
	intruder := server.as("news")
	asked := server.admin.Hear("sio.chat.on.connect")
	carl := server.Dial("carl")
	carl.Send("40/chat,")
	request := asked.Next()
	if got := carl.Next(); !strings.HasPrefix(got, `40/chat,{"sid":"`) {
		t.Fatalf("carl got %s", got)
	}
	intruder.publish(request.Reply, "", `[{"rooms":["vault"]}]`)
	intruder.mayNot("publish", request.Reply)
	server.fine()
}

// `nats micro` finds the edge as a service, and NATS refuses nothing.
func TestServiceOfNATS(t *testing.T) {
	s := begin(t)
	answer, err := s.admin.NC.Request("$SRV.PING.partyline-edge."+s.ID, nil, edgetest.Patience)
	if err != nil || !strings.Contains(string(answer.Data), `"id":"`+s.ID+`"`) {
		t.Errorf("%v %v", answer, err)
	}
	if n := s.Figure("nats_errors_total", ""); n != 0 {
		t.Errorf("NATS refused the edge %d things", n)
	}
	s.fine()
}
