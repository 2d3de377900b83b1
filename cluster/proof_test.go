package cluster

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/engine"
)

const sid = "k3f9a0zz.Q2hhdHR5LXNvY2tldC0x"

// forwarded returns a forwarded request as the other edge reads it, signed with secret.
func forwarded(t *testing.T, secret string, client engine.Peer, at time.Time) *http.Request {
	t.Helper()
	out, err := http.NewRequest(http.MethodPost, "http://10.0.0.7:3000/socket.io/?EIO=4&sid="+sid+"&x=%20;",
		strings.NewReader("2"))
	if err != nil {
		t.Fatal(err)
	}
	out.Header.Set(headerForwarded, "for=6.6.6.6")
	out.Header.Set(headerSignature, "abcd")
	proof(secret).give(out, sid, "a0000000", client, at)
	var wire bytes.Buffer
	if err := out.Write(&wire); err != nil {
		t.Fatal(err)
	}
	if secret != "" && strings.Contains(wire.String(), secret) {
		t.Errorf("the secret is in the request:\n%s", wire.String())
	}
	in, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestProof(t *testing.T) {
	client := engine.Peer{Address: "2001:db8::7", Host: "chat.example:80 & more", Scheme: "https"}
	now := time.Now()
	for name, c := range map[string]struct {
		theirs, ours string
		at           time.Time
		change       func(*http.Request)
		sid          string
		err          string // part; "": it is accepted
	}{
		"good":                {theirs: "5ecret", ours: "5ecret"},
		"a clock that is off": {theirs: "5ecret", ours: "5ecret", at: now.Add(29 * time.Second)},
		"too old":             {theirs: "5ecret", ours: "5ecret", at: now.Add(-31 * time.Second), err: "31s from now"},
		"too new":             {theirs: "5ecret", ours: "5ecret", at: now.Add(31 * time.Second), err: "31s from now"},
		"another secret":      {theirs: "other", ours: "5ecret", err: "edges.secret"},
		"no secret there":     {theirs: "", ours: "5ecret", err: "edges.secret"},
		"no secrets":          {},
		"another method": {theirs: "5ecret", ours: "5ecret", err: "edges.secret",
			change: func(r *http.Request) { r.Method = "GET" }},
		"another query": {theirs: "5ecret", ours: "5ecret", err: "edges.secret",
			change: func(r *http.Request) { r.RequestURI += "&y" }},
		"another session": {theirs: "5ecret", ours: "5ecret", err: "edges.secret",
			sid: strings.Replace(sid, "Q", "q", 1)},
		"another client": {theirs: "5ecret", ours: "5ecret", err: "edges.secret", change: func(r *http.Request) {
			r.Header.Set(headerForwarded, strings.Replace(r.Header.Get(headerForwarded), "db8", "db9", 1))
		}},
		"no client":        {err: "for whom", change: func(r *http.Request) { r.Header.Del(headerForwarded) }},
		"a client's guess": {err: "for whom", change: func(r *http.Request) { r.Header.Set(headerForwarded, "for=a;b") }},
	} {
		at := c.at
		if at.IsZero() {
			at = now
		}
		r := forwarded(t, c.theirs, client, at)
		if c.change != nil {
			c.change(r)
		}
		if c.sid == "" {
			c.sid = sid
		}
		got, err := proof(c.ours).check(r, c.sid, now)
		switch {
		case c.err == "" && (err != nil || got != client):
			t.Errorf("%s: got %+v, %v", name, got, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v, want %q", name, err, c.err)
		}
	}
}

func TestSessionOf(t *testing.T) {
	other := "a0000000" + sid[8:]
	for query, want := range map[string]string{
		"":                                "",
		"EIO=4&transport=polling":         "",
		"EIO=4&sid=" + sid:                sid,
		"sid=" + sid + "&EIO=4":           sid,
		"sid=" + other + "&sid=" + sid:    sid,
		"sid=" + sid + "&sid=":            "",
		"xsid=" + sid:                     "",
		"sid=" + sid + "x":                "",
		"sid=" + strings.ToUpper(sid[:8]): "",
		"sid=K3F9A0ZZ" + sid[8:]:          "",
		"sid=../../admin.aaaaaaaaaaaaa":   "",
		"&&sid=" + sid + "&&":             sid,
	} {
		got, edge := sessionOf(query)
		if got != want || want != "" && edge != want[:8] {
			t.Errorf("%q: %q of %q, want %q", query, got, edge, want)
		}
	}
	// the test's own text
	if n := testing.AllocsPerRun(100, func() { sessionOf("EIO=4&transport=polling&sid=" + sid) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// An edge of an older version sends a scheme even if it knows none.
func TestPeersOfOlderEdges(t *testing.T) {
	for said, want := range map[string]engine.Peer{
		"at=1&by=a0000000&for=192.0.2.1&host=h&proto=http": {Address: "192.0.2.1", Host: "h"},
		"at=1&by=a0000000&for=192.0.2.1&host=h&proto=https": {Address: "192.0.2.1", Host: "h",
			Scheme: "https"},
		"at=1&by=a0000000&for=192.0.2.1&host=h&port=8080&proto=http&scheme=http": {Address: "192.0.2.1", Host: "h",
			Port: "8080", Scheme: "http"},
		"at=1&by=a0000000&for=192.0.2.1&host=h%3A8080&port=&proto=http&scheme=": {Address: "192.0.2.1",
			Host: "h:8080"},
		"at=1&by=a0000000&for=192.0.2.1&host=h%3A8080&port=&proto=https&scheme=https": {Address: "192.0.2.1", Host: "h:8080",
			Scheme: "https"},
	} {
		r := forwarded(t, "", engine.Peer{}, time.Now())
		r.Header.Set(headerForwarded, said)
		if got, err := proof("").check(r, sid, time.Now()); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", said, got, err, want)
		}
	}
}
