package msg

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEdgeAnnouncement(t *testing.T) {
	for want, a := range map[string]EdgeAnnouncement{
		`[{"edge":"k3f9a0zz","at":1767225600000,"every":1000,"sockets":0}]`: {Edge: "k3f9a0zz", At: 1767225600000, Every: 1000},
		`[{"edge":"k3f9a0zz","at":5,"sockets":3,"by":"aaaaaaaa"}]`:          {Edge: "k3f9a0zz", At: 5, Sockets: 3, By: "aaaaaaaa"},
		`[{"edge":"k3f9a0zz","at":5,"sockets":3,"counts":{"started":4,"clients":2,"polling":1,"opened":9,"ended":7,` +
			`"bytes_in":10,"bytes_out":20,"namespaces":{"/":1,"/chat":2}}}]`: {Edge: "k3f9a0zz", At: 5, Sockets: 3, Counts: &EdgeCounts{
			Started: 4, Clients: 2, Polling: 1, Opened: 9, Ended: 7, BytesIn: 10, BytesOut: 20, Namespaces: map[string]int{"/": 1, "/chat": 2}}},
	} {
		if got := string(a.Body()); got != want {
			t.Errorf("the body is %s, want %s", got, want)
		}
		if back, err := ParseEdgeAnnouncement([]byte(want)); err != nil || !reflect.DeepEqual(back, a) {
			t.Errorf("ParseEdgeAnnouncement(%s) = %+v, %v", want, back, err)
		}
	}
}

func TestInstanceAnnouncement(t *testing.T) {
	for want, a := range map[string]InstanceAnnouncement{
		`[{"instance":"chat-a","group":"chat","namespaces":["/chat","/tenant-*"],"at":5,"every":1000}]`: {
			Instance: "chat-a", Group: "chat", Namespaces: []string{"/chat", "/tenant-*"}, At: 5, Every: 1000},
		`[{"instance":"chat-a","group":"chat","owns":true,"namespaces":["/chat"],"at":5,"every":1000}]`: {
			Instance: "chat-a", Group: "chat", Owns: true, Namespaces: []string{"/chat"}, At: 5, Every: 1000},
	} {
		if got := string(a.Body()); got != want {
			t.Errorf("the body is %s, want %s", got, want)
		}
		if back, err := ParseInstanceAnnouncement([]byte(want)); err != nil || !reflect.DeepEqual(back, a) {
			t.Errorf("%+v, %v", back, err)
		}
	}
}

// An announcement has room for so many namespaces.
func TestLargest(t *testing.T) {
	all, long := make(map[string]int), make(map[string]int)
	for i := range 300 {
		all[fmt.Sprintf("/%d", i)] = i
		long["/"+strings.Repeat("x", 500)+fmt.Sprint(i)] = i
	}
	got := Largest(all)
	if _, small := got["/199"]; len(got) != 100 || small || got["/200"] != 200 {
		t.Errorf("of 300 namespaces %d are kept: %v", len(got), got)
	}
	if got := Largest(long); len(got) != 16 {
		t.Errorf("of 300 long names %d are kept", len(got))
	}
	if got := Largest(nil); len(got) != 0 {
		t.Errorf("of none %v is kept", got)
	}
}

func TestBadAnnouncements(t *testing.T) {
	for _, body := range []string{``, `x`, `{}`, `null`, `[]`, `[{},{}]`, `["x"]`, `[{"at":"now"}]`, `[{"edge":1,"instance":1}]`, `[{"at":1.5}]`} {
		if a, err := ParseEdgeAnnouncement([]byte(body)); !errors.Is(err, ErrAnnouncement) {
			t.Errorf("ParseEdgeAnnouncement(%q) = %+v, %v", body, a, err)
		}
		if a, err := ParseInstanceAnnouncement([]byte(body)); !errors.Is(err, ErrAnnouncement) {
			t.Errorf("ParseInstanceAnnouncement(%q) = %+v, %v", body, a, err)
		}
	}
}

func TestSignature(t *testing.T) {
	now := time.UnixMilli(1767225600000)
	body := EdgeAnnouncement{Edge: "k3f9a0zz", At: now.UnixMilli(), Every: 1000, Sockets: 1}.Body()
	const secret = "between us"
	good := Sign(secret, "k3f9a0zz.beat", string(body))
	// As written in another language: hex of HMAC-SHA256 over "<edge>.<word>\n<body>".
	if again := Sign(secret, "k3f9a0zz.beat", string(body)); good != again || len(good) != 64 || strings.ToLower(good) != good {
		t.Fatalf("the signature is %q, then %q", good, again)
	}
	for _, at := range []time.Time{now, now.Add(MaxClockSkew), now.Add(-MaxClockSkew)} {
		if err := Verify(secret, "k3f9a0zz", "beat", body, good, at); err != nil {
			t.Errorf("at %v: %v", at.Sub(now), err)
		}
	}
	other := EdgeAnnouncement{Edge: "k3f9a0zz", At: now.UnixMilli(), Every: 1000, Sockets: 2}.Body()
	for name, err := range map[string]error{
		"no signature":     Verify(secret, "k3f9a0zz", "beat", body, "", now),
		"not hexadecimal":  Verify(secret, "k3f9a0zz", "beat", body, "x"+good[1:], now),
		"cut":              Verify(secret, "k3f9a0zz", "beat", body, good[:62], now),
		"too long":         Verify(secret, "k3f9a0zz", "beat", body, good+"00", now),
		"another secret":   Verify("guess", "k3f9a0zz", "beat", body, good, now),
		"no secret":        Verify("", "k3f9a0zz", "beat", body, good, now),
		"another edge":     Verify(secret, "aaaaaaaa", "beat", body, good, now),
		"another word":     Verify(secret, "k3f9a0zz", "bye", body, good, now),
		"another body":     Verify(secret, "k3f9a0zz", "beat", other, good, now),
		"too old":          Verify(secret, "k3f9a0zz", "beat", body, good, now.Add(MaxClockSkew+time.Millisecond)),
		"from tomorrow":    Verify(secret, "k3f9a0zz", "beat", body, good, now.Add(-MaxClockSkew-time.Millisecond)),
		"signed, but junk": Verify(secret, "k3f9a0zz", "beat", []byte("x"), Sign(secret, "k3f9a0zz.beat", "x"), now),
	} {
		if !errors.Is(err, ErrAnnouncement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature from another program: printf 'k3f9a0zz.beat\n[]' | openssl dgst -sha256 -hmac secret
func TestSignatureIsTheOneOfOtherTools(t *testing.T) {
	const want = "9146012566bbb6b7168f4b424211e6ae206f5cc1d46ad4e6f192f5b32e36cf16"
	if got := Sign("secret", "k3f9a0zz.beat", "[]"); got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
}

func FuzzAnnouncements(f *testing.F) {
	f.Add(EdgeAnnouncement{Edge: "k3f9a0zz", At: 5, Every: 1000}.Body(), "beat", "00ff")
	f.Add(InstanceAnnouncement{Instance: "i", Group: "g", Namespaces: []string{"/"}}.Body(), "hello", "")
	f.Add([]byte(`[{"at":9223372036854775807}]`), "", "x")
	f.Add([]byte(`[null]`), "bye", "")
	f.Fuzz(func(t *testing.T, body []byte, word, header string) {
		if a, err := ParseEdgeAnnouncement(body); err == nil {
			again, err := ParseEdgeAnnouncement(a.Body())
			if err != nil || again != a {
				t.Errorf("%q → %+v → %+v, %v", body, a, again, err)
			}
			now := time.UnixMilli(a.At)
			if err := Verify("secret", "k3f9a0zz", word, body, Sign("secret", "k3f9a0zz."+word, string(body)), now); err != nil {
				t.Errorf("%q: %v", body, err)
			}
			if Verify("secret", "k3f9a0zz", word, body, Sign("other", "k3f9a0zz."+word, string(body)), now) == nil {
				t.Error("a signature of another edge is accepted")
			}
		} else if !errors.Is(err, ErrAnnouncement) {
			t.Errorf("%q: %v", body, err)
		}
		if Verify("secret", "k3f9a0zz", word, body, header, time.Now()) == nil {
			t.Errorf("the made up signature %q counts", header)
		}
		if a, err := ParseInstanceAnnouncement(body); err == nil {
			var again any
			if json.Unmarshal(a.Body(), &again) != nil {
				t.Errorf("%q → %q", body, a.Body())
			}
		}
	})
}

func TestVerifier(t *testing.T) {
	const secret = "between us"
	now := time.UnixMilli(1767225600000)
	v := Verifier{Secret: secret}
	read := func(edge, word, by string, after time.Duration, with string) error {
		body := EdgeAnnouncement{Edge: "k3f9a0zz", At: now.Add(after).UnixMilli(), By: by}.Body()
		_, err := v.Read(edge, word, body, Sign(with, edge+"."+word, string(body)), now)
		return err
	}
	for i, c := range []struct {
		edge, word, by string
		after          time.Duration
		with           string
		ok             bool
	}{
		{"k3f9a0zz", "hello", "", 0, secret, true},
		{"k3f9a0zz", "hello", "", 0, secret, false}, // a copy
		{"k3f9a0zz", "beat", "", time.Second, "a guess", false},
		{"k3f9a0zz", "beat", "", time.Second, secret, true},
		{"k3f9a0zz", "beat", "", time.Second / 2, secret, false}, // an older one
		{"aaaaaaaa", "beat", "", 2 * time.Second, secret, false}, // of another edge
		{"k3f9a0zz", "gone", "aaaaaaaa", -time.Second, secret, true},
		{"k3f9a0zz", "gone", "aaaaaaaa", -time.Second, secret, false},
		{"k3f9a0zz", "beat", "", 31 * time.Second, secret, false},
		{"k3f9a0zz", "bye", "", 3 * time.Second, secret, true},
		{"k3f9a0zz", "beat", "", 3 * time.Second, secret, false},
	} {
		if err := read(c.edge, c.word, c.by, c.after, c.with); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrAnnouncement) {
			t.Errorf("%d: %v", i, err)
		}
	}
	open := Verifier{}
	for range 2 {
		if _, err := open.Read("k3f9a0zz", "beat", EdgeAnnouncement{Edge: "k3f9a0zz", At: 1}.Body(), "", now); err != nil {
			t.Errorf("without a secret: %v", err)
		}
	}
	if _, err := open.Read("aaaaaaaa", "beat", EdgeAnnouncement{Edge: "k3f9a0zz", At: 1}.Body(), "", now); err == nil {
		t.Error("an announcement of another edge counts")
	}
}

// A Verifier forgets edges whose announcements are too old to count again.
func TestVerifierForgets(t *testing.T) {
	v := Verifier{Secret: "s"}
	began := time.UnixMilli(1767225600000)
	for i := range 100 * minSweep {
		now := began.Add(time.Duration(i) * time.Second)
		edge := fmt.Sprintf("%08d", i)
		body := EdgeAnnouncement{Edge: edge, At: now.UnixMilli()}.Body()
		if _, err := v.Read(edge, "beat", body, Sign("s", edge+".beat", string(body)), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.last); n > minSweep {
		t.Errorf("it remembers %d edges", n)
	}
}
