package gateway_test

import (
	"net/http"
	"testing"

	"partyline/internal/edgetest"
)

// admitting answers connects with a grant, and everything else with a body.
func admitting(grant, otherwise string) func(http.ResponseWriter, *request) {
	return func(w http.ResponseWriter, r *request) {
		if r.Type == "partyline.connect" {
			answer(w, 200, grant)
			return
		}
		answer(w, 200, otherwise)
	}
}

func TestHookAdmitsAcksAndEmits(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, admitting(`{"user":"ann","rooms":["a"],"data":{"plan":"pro"}}`, `{"ack":["yes",1.50],"emit":[{"to":{"room":"a"},"event":["message","hi"]}]}`))
	s.gateway(hooked(e.URL))
	c := s.Dial("ann")
	so := edgetest.Enter(c, "/chat", `{"token":"x"}`)
	connect := e.gets(1, "connect")[0]
	if connect.Source != "/chat" || connect.Socket != so.ID || connect.Data.Handshake.SID != so.ID || connect.Data.Handshake.Auth["token"] != "x" {
		t.Errorf("connect: %+v", connect)
	}
	so.Emit("7", `["sum",1,{"a":2}]`)
	so.Acked("7", `["yes",1.50]`)
	so.Gets(`["message","hi"]`)
	event := e.gets(1, "sum")[0]
	if event.Socket != so.ID || event.User != "ann" || !event.WantsAck || event.Subject != "sum" || len(event.Data.Event) != 3 {
		t.Errorf("event: %+v", event)
	}
	c.Hangup()
	gone := e.gets(1, "disconnect")[0]
	if gone.Data.Reason != "transport close" || len(gone.Data.Rooms) != 1 || gone.Data.Rooms[0] != "a" || gone.User != "ann" {
		t.Errorf("disconnect: %+v", gone)
	}
}

func TestHookRefuses(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, func(w http.ResponseWriter, r *request) { answer(w, 402, `{"message":"please pay","data":{"code":7}}`) })
	s.gateway(hooked(e.URL))
	c := s.Dial("bob")
	c.Send("40/chat,")
	c.Expect(`44/chat,{"message":"please pay","data":{"code":7}}`)
}
