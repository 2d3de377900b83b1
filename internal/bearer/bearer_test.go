package bearer

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"partyline/wire/msg"
)

func TestIsPlace(t *testing.T) {
	for place, want := range map[string]bool{
		"auth": true, "authorization": true, "cookie:sid": true, "query:token": true, "": false, "cookie:": false, "query:": false, "header": false, "query:t": false, "query:sid": false, "Auth": false,
	} {
		if IsPlace(place) != want {
			t.Errorf("%q: %v", place, !want)
		}
	}
}

func TestFromAuth(t *testing.T) {
	for _, c := range []struct{ auth, token, rest string }{
		{`{"token":"t"}`, "t", `{}`},
		{`{"a":1,"token":"t","b":[2]}`, "t", `{"a":1,"b":[2]}`},
		{`{"tok\u0065n":"t","token":"u"}`, "u", `{}`},
		{`{"token":7}`, "", `{"token":7}`},
		{`{"a":{"token":"t"}}`, "", `{"a":{"token":"t"}}`},
		{``, "", ``},
	} {
		var auth []byte
		if c.auth != "" {
			auth = []byte(c.auth)
		}
		if token, rest := (Places{Auth}).FromAuth(auth); token != c.token || string(rest) != c.rest {
			t.Errorf("%s: %q, %s", c.auth, token, rest)
		}
	}
	if token, rest := (Places{Authorization}).FromAuth([]byte(`{"token":"t"}`)); token != "" || string(rest) != `{"token":"t"}` {
		t.Error("auth is not a place, and lost its token")
	}
}

func TestFromRequest(t *testing.T) {
	request := func() *msg.Request {
		return &msg.Request{
			Query:   map[string]string{"EIO": "4", "token": "q"},
			Headers: map[string]string{"authorization": "bearer  h", "cookie": `a=1; sid="c"; b=2`, "host": "x"},
			URL:     "/socket.io/?EIO=4&to%6Ben=q&token=q2",
		}
	}
	for place, want := range map[string]string{Query + "token": "q", Authorization: "h", Cookie + "sid": "c"} {
		r := request()
		if token := (Places{Auth, place}).FromRequest(r); token != want {
			t.Errorf("%s: %q", place, token)
		}
	}
	r := request()
	if token := (Places{Cookie + "sid", Query + "token", Authorization}).FromRequest(r); token != "c" {
		t.Errorf("the first place: %q", token)
	}
	if want := map[string]string{"cookie": "a=1; b=2", "host": "x"}; !maps.Equal(r.Headers, want) || r.URL != "/socket.io/?EIO=4" || len(r.Query) != 1 {
		t.Errorf("left: %v, %s, %v", r.Headers, r.URL, r.Query)
	}
	r = request()
	r.Query["token"], r.Headers = "a.b.c", map[string]string{"x-original-uri": "/socket.io/?token=a.b.c&v=1"} // of a proxy
	if token := (Places{Query + "token"}).FromRequest(r); token != "a.b.c" || r.Headers["x-original-uri"] != "/socket.io/?token=&v=1" {
		t.Errorf("left: %v", r.Headers)
	}
	r = request()
	r.Headers = map[string]string{"authorization": "Basic dTpw"}
	if token := (Places{Authorization, Cookie + "sid"}).FromRequest(r); token != "" || r.Headers["authorization"] == "" {
		t.Error("another scheme was taken")
	}
}

// Whatever a client sends, what it shows as a token is nowhere any more.
func FuzzPlaces(f *testing.F) {
	f.Add(`{"token":"secret","a":1}`, "a=b; s=secret", "/?t=secret&x=%")
	f.Fuzz(func(t *testing.T, auth, cookie, url string) {
		p := Places{Auth, Cookie + "s", Query + "t"}
		r := &msg.Request{Query: map[string]string{"t": "secret"}, Headers: map[string]string{"cookie": cookie}, URL: url}
		p.FromRequest(r)
		if token := p.FromRequest(r); token != "" {
			t.Errorf("still in the request: %q", token)
		}
		if !json.Valid([]byte(auth)) || !strings.HasPrefix(strings.TrimSpace(auth), "{") {
			return
		}
		if _, rest := p.FromAuth([]byte(auth)); !json.Valid(rest) {
			t.Errorf("the rest is no JSON: %s", rest)
		} else if again, _ := p.FromAuth(rest); again != "" {
			t.Errorf("still in auth: %q", again)
		}
	})
}
