package eio

import (
	"errors"
	"net/http"
	"reflect"
	"testing"
	"time"
)

var handshakes = []struct {
	raw     string
	meaning string
	want    Handshake
}{
	{
		`0{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`,
		"polling, with the defaults of the reference",
		Handshake{"lv_VI97HAXpY6yYWAAAB", []string{"websocket"}, 25 * time.Second, 20 * time.Second, 1_000_000},
	},
	{
		`0{"sid":"a.b-c_d","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1}`,
		"websocket, nothing to change to",
		Handshake{"a.b-c_d", []string{}, 300 * time.Millisecond, 200 * time.Millisecond, 1},
	},
}

func TestOpen(t *testing.T) {
	for _, c := range handshakes {
		if got := string(AppendOpen([]byte("kept "), c.want)); got != "kept "+c.raw {
			t.Errorf("%s: %q, want %q behind what was there", c.meaning, got, c.raw)
		}
		p, err := Parse([]byte(c.raw))
		if err != nil || p.Type != Open {
			t.Fatalf("%s: %+v, %v", c.meaning, p, err)
		}
		if got, err := ParseOpen(p.Data); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.meaning, got, err, c.want)
		}
	}
}

func TestOpenWithoutUpgradesSendsAnArray(t *testing.T) {
	const want = `0{"sid":"x","upgrades":[],"pingInterval":1,"pingTimeout":0,"maxPayload":0}`
	if got := string(AppendOpen(nil, Handshake{SID: "x", PingInterval: 1999 * time.Microsecond})); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseOpenRefuses(t *testing.T) {
	for raw, meaning := range map[string]string{
		"":                              "nothing",
		"null":                          "null",
		"[]":                            "an array",
		"{":                             "broken JSON",
		`{}`:                            "no sid",
		`{"sid":1}`:                     "a sid that is a number",
		`{"sid":"x","upgrades":"none"}`: "upgrades that are no array",
		`{"sid":"x","pingInterval":-1}`: "a negative interval",
		`{"sid":"x","pingTimeout":1.5}`: "a fraction",
		`{"sid":"x","maxPayload":-1}`:   "a negative size",
		`{"sid":"x","pingTimeout":9223372036855}`: "a timeout too long for a Duration",
	} {
		if h, err := ParseOpen([]byte(raw)); !errors.Is(err, ErrHandshake) || !reflect.DeepEqual(h, Handshake{}) {
			t.Errorf("%s: %+v, %v", meaning, h, err)
		}
	}
}

func FuzzParseOpen(f *testing.F) {
	for _, c := range handshakes {
		f.Add([]byte(c.raw[1:]))
	}
	f.Add([]byte(`{"sid":"x","pingInterval":9223372036854}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseOpen(data)
		if err != nil {
			return
		}
		p, err := Parse(AppendOpen(nil, h))
		if err != nil || p.Type != Open {
			t.Fatalf("%+v: %+v, %v", h, p, err)
		}
		again, err := ParseOpen(p.Data)
		if h.Upgrades == nil {
			h.Upgrades = []string{} // what AppendOpen sends
		}
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v comes back as %+v, %v", h, again, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		r      Refusal
		status int
		body   string
	}{
		{UnknownTransport, http.StatusBadRequest, `{"code":0,"message":"Transport unknown"}`},
		{UnknownSession, http.StatusBadRequest, `{"code":1,"message":"Session ID unknown"}`},
		{BadHandshakeMethod, http.StatusBadRequest, `{"code":2,"message":"Bad handshake method"}`},
		{BadRequest, http.StatusBadRequest, `{"code":3,"message":"Bad request"}`},
		{Forbidden, http.StatusForbidden, `{"code":4,"message":"Forbidden"}`},
		{UnsupportedProtocol, http.StatusBadRequest, `{"code":5,"message":"Unsupported protocol version"}`},
		{Refusal(200), http.StatusBadRequest, `{"code":200,"message":"Bad request"}`},
	} {
		if got := string(AppendRefusal([]byte("kept "), c.r)); got != "kept "+c.body {
			t.Errorf("%d: %s, want %s behind what was there", c.r, got, c.body)
		}
		if c.r.Status() != c.status || c.r.Error() != c.r.Message() {
			t.Errorf("%d: status %d, error %q, message %q", c.r, c.r.Status(), c.r.Error(), c.r.Message())
		}
	}
	dst := make([]byte, 0, 64)
	if allocs := testing.AllocsPerRun(100, func() { dst = AppendRefusal(dst[:0], UnknownSession) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
