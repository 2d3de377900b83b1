package redact

import (
	"net/url"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"nats://127.0.0.1:4222":                 "nats://127.0.0.1:4222",
		"h:4222":                                "h:4222",
		"nats://[::1]:4222, tls://b":            "nats://[::1]:4222, tls://b",
		"ws://h:80/path":                        "ws://h:80/path",
		"nats://bob:PASSW0RD@h:1,nats://h2":     "nats://bob:hidden@h:1,nats://h2",
		"bob:PASSW0RD@127.0.0.1:4":              "bob:hidden@127.0.0.1:4",
		" tls://bob:PASSW0RD@h , h2":            " tls://bob:hidden@h , h2",
		"PASSW0RD@h":                            "hidden@h",
		"tls://PASSW0RD@h:1":                    "tls://hidden@h:1",
		"nats://PASSW0RD:@h":                    "nats://hidden@h",
		"NATS://PASSW0RD@h":                     "NATS://hidden@h",
		"nast://bob:PASSW0RD@h":                 "nast:hidden@h",
		"bob:PASS://W0RD@h":                     "bob:hidden@h",
		"nats:/bob:PASSW0RD@h":                  "nats:hidden@h",
		"nats://bob:PASS@W0RD@h":                "nats://bob:hidden@h",
		"nats://bob:PASS/W0RD@h":                "nats://bob:hidden@h",
		"nats://bob:PASS#W0RD@h":                "nats://bob:hidden@h",
		"nats://bob:PASS?W0RD@h":                "nats://bob:hidden@h",
		"nats://bob:%zzPASSW0RD@h":              "nats://bob:hidden@h",
		"nast://bob:PASSW0RD":                   "nast:/hidden",
		"//bob:PASSW0RD":                        "/hidden",
		"nats:///bob:PASSW0RD":                  "nats:///hidden",
		"nats://bob:PASSW0RD":                   "nats://bob:hidden",
		"bob:PASSW0RD":                          "bob:hidden",
		"nats://bob:PASSW0RD127.0.0.1:4222":     "nats://bob:hidden",
		"nats://h:1?token=PASSW0RD":             "nats://h:1?hidden",
		"wss://h/path?jwt=PASSW0RD#PASSW0RD":    "wss://h/path?hidden",
		"nats://h#PASSW0RD":                     "nats://h#hidden",
		"nats://bob:PASS,W0RD@h":                "nats://hidden,hidden@h",
		"nats://bob:PASS,W0,RD@h":               "nats://hidden,hidden,hidden@h",
		"nats://bob:PASS,W0:RD@h":               "nats://hidden,hidden@h",
		"a:1,bob:PASSW0RD@b:2":                  "hidden,hidden@b:2",
		"nats://a:1,nats://bob:PASSW0RD@b:2":    "nats://a:1,nats://bob:hidden@b:2",
		"bob:PASSW0RD@a:1,bob:PASSW0RD@b:2":     "bob:hidden@a:1,bob:hidden@b:2",
		"nats://bob:PASSW0RD@a,nats://b@c,d,,e": "nats://bob:hidden@a,nats://hidden@c,d,,e",
	} {
		if got := URLs(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestText(t *testing.T) {
	const list = "nats://bob:PASS%20W0RD@a:1, tls://TOKEN@b,bob:%zzSECRET@c"
	_, err := url.Parse("nats://bob:%zzSECRET@c")
	for text, want := range map[string]string{
		err.Error():                       `parse "nats://bob:hidden@c": invalid URL escape "%zz"`,
		"dial nats://bob:PASS%20W0RD@a:1": "dial nats://bob:hidden@a:1",
		"PASS W0RD, TOKEN":                "hidden, hidden",
		list:                              URLs(list),
		"connection refused":              "connection refused",
	} {
		if got := Text(text, list); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	const odd = `nats://bob:PA!SS"W0RD@a, nats://b?token=QUERY%20TOKEN,ws://bob:p%22q%0A%5Cr@c#FRAGMENT`
	for _, text := range []string{`PA!SS"W0RD`, `PA%21SS%22W0RD`, `PA!SS\"W0RD`, `p%22q%0A%5Cr`, "p\"q\n\\r", `p\"q\n\\r`, "token=QUERY%20TOKEN",
		"token=QUERY TOKEN", "#FRAGMENT"} {
		if got := Text("a "+text+" b", odd); strings.ContainsAny(got, "PQWqrGM") {
			t.Errorf("%q: got %q", text, got)
		}
	}
	if got := Text("a text", ""); got != "a text" {
		t.Errorf("without URLs: %q", got)
	}
}

// Of what precedes the last @ of a URL, only the user's name is shown.
func FuzzURLs(f *testing.F) {
	f.Add("p:a@s/s?w#o,rd", "a")
	f.Fuzz(func(t *testing.T, password, user string) {
		const mark = "S3CRET"
		if strings.ContainsAny(user, ":@,/?# \t") {
			return
		}
		for _, scheme := range []string{"", "nats://", "tls://"} {
			list := scheme + user + ":" + strings.ReplaceAll(password, ",", "") + mark + "@h:1"
			if got := URLs(list); strings.Contains(got, mark) || strings.Count(got, ",") != strings.Count(list, ",") {
				t.Errorf("%q shows %q", list, got)
			}
		}
	})
}
