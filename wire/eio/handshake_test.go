package eio

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
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
		if got := readOpen(t, p.Data); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.meaning, got, c.want)
		}
	}
}

func TestOpenWithoutUpgradesSendsAnArray(t *testing.T) {
	const want = `0{"sid":"x","upgrades":[],"pingInterval":1,"pingTimeout":0,"maxPayload":0}`
	if got := string(AppendOpen(nil, Handshake{SID: "x", PingInterval: 1999 * time.Microsecond})); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzAppendOpen checks that a client that reads the open packet as JSON gets what was in the Handshake.
func FuzzAppendOpen(f *testing.F) {
	for _, c := range handshakes {
		f.Add(c.want.SID, int64(c.want.PingInterval), int64(c.want.PingTimeout), c.want.MaxPayload)
	}
	f.Add("x", int64(9223372036854*time.Millisecond), int64(0), 0)
	f.Add("", int64(0), int64(0), 0)
	f.Fuzz(func(t *testing.T, sid string, interval, timeout int64, maxPayload int) {
		h := Handshake{strings.ToValidUTF8(sid, "\uFFFD"), []string{"websocket"}, time.Duration(interval), time.Duration(timeout), maxPayload}
		p, err := Parse(AppendOpen(nil, h))
		if err != nil || p.Type != Open {
			t.Fatalf("%+v: %+v, %v", h, p, err)
		}
		h.PingInterval, h.PingTimeout = h.PingInterval.Truncate(time.Millisecond), h.PingTimeout.Truncate(time.Millisecond)
		if again := readOpen(t, p.Data); !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v comes back as %+v", h, again)
		}
	})
}

// readOpen reads the Data of an open packet as a client does.
func readOpen(t *testing.T, data []byte) Handshake {
	t.Helper()
	var read struct {
		SID                       string
		Upgrades                  []string
		PingInterval, PingTimeout int64
		MaxPayload                int
	}
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return Handshake{
		read.SID, read.Upgrades, time.Duration(read.PingInterval) * time.Millisecond, time.Duration(read.PingTimeout) * time.Millisecond,
		read.MaxPayload,
	}
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
		if c.r.Status() != c.status {
			t.Errorf("%d: status %d, want %d", c.r, c.r.Status(), c.status)
		}
	}
	dst := make([]byte, 0, 64)
	if allocs := testing.AllocsPerRun(100, func() { dst = AppendRefusal(dst[:0], UnknownSession) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
