package adminui_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"partyline/gateway/adminui"
	"partyline/internal/edgetest"
)

// The edges are on loopback in these tests, and so are the pages: they need a login all the same.
func TestLogin(t *testing.T) {
	s := begin(t, 1)
	o := adminui.Options{Users: users(t), Secret: "shared"}
	ui := s.start(o)
	for _, auth := range []string{"", `{}`, `[]`, `{"sessionId":null}`, `{"sessionId":"x.y.z"}`, `{"username":"ann"}`,
		`{"username":"ann","password":"wrong"}`, `{"username":"eve","password":"` + password + `"}`,
		`{"username":{"$ne":""},"password":1}`, `{"username":"ann","password":"` + strings.Repeat("x", 73) + `"}`} {
		if auth == "[]" {
			continue // no auth of a client
		}
		if got := s.refused(0, auth); got != "invalid credentials" {
			t.Errorf("%s: %q", auth, got)
		}
	}
	p := s.open(0, byPassword)
	p.until("it has a session", func() bool { return p.session != "" })
	again := s.open(0, bySession(p.session))
	again.until("it has the features", func() bool { return again.features != nil })
	if again.session != "" {
		t.Error("a session is prolonged by itself")
	}
	again = s.open(0, `{"sessionId":"`+p.session+`","username":"ann","password":"wrong"}`)
	again.until("it has the features", func() bool { return again.features != nil })
	if again.session != "" {
		t.Error("a session is prolonged without the password")
	}
	last := "A"
	if strings.HasSuffix(p.session, last) {
		last = "B"
	}
	if got := s.refused(0, bySession(p.session[:len(p.session)-1]+last)); got != "invalid credentials" {
		t.Errorf("a forged session: %q", got)
	}
	if n := ui.figure("admin_logins_total", "session"); n != 2 {
		t.Errorf("%d pages came with a session", n)
	}

	// At another instance with the same secret, but not with another one, or with another password.
	ui.stop()
	second := s.start(o)
	s.open(0, bySession(p.session))
	second.stop()
	third := s.start(adminui.Options{Users: o.Users, Secret: "another"})
	if got := s.refused(0, bySession(p.session)); got != "invalid credentials" {
		t.Errorf("with another secret: %q", got)
	}
	third.stop()
	s.start(adminui.Options{Users: users(t), Secret: "shared"})
	if got := s.refused(0, bySession(p.session)); got != "invalid credentials" {
		t.Errorf("with a new password: %q", got)
	}
}

func TestLoginsOfAnAddress(t *testing.T) {
	s := begin(t, 1, func(o *edgetest.Options) { o.Trusted = []string{"127.0.0.1"} })
	s.start(adminui.Options{Users: users(t)})
	for range 5 {
		s.refused(0, `{"username":"ann","password":"a guess"}`)
	}
	if got := s.refused(0, byPassword); !strings.HasPrefix(got, "too many logins") {
		t.Errorf("the sixth login: %q", got)
	}
	other := s.dial("elsewhere", http.Header{"X-Forwarded-For": {"192.0.2.7"}})
	other.Connect(adminui.Namespace, byPassword)
}

// Behind a proxy on the same machine that the edge does not trust, every client seems to be on loopback.
func TestLoopbackBehindAProxy(t *testing.T) {
	s := begin(t, 1)
	s.start(inDev)
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		other := s.dial("elsewhere by "+name, http.Header{name: {"192.0.2.7"}})
		other.Send("40/admin,")
		other.Expect(`44/admin,{"message":"invalid credentials"}`)
	}
}

// Only clients on loopback need no login.
func TestLoopback(t *testing.T) {
	s := begin(t, 1, func(o *edgetest.Options) { o.Trusted = []string{"127.0.0.1"} })
	s.start(inDev)
	s.open(0, "")
	other := s.dial("elsewhere", http.Header{"X-Forwarded-For": {"192.0.2.7"}})
	other.Send("40/admin,")
	other.Expect(`44/admin,{"message":"invalid credentials"}`)
}

func TestNoUsers(t *testing.T) {
	if _, err := adminui.New(adminui.Options{}); err == nil || !strings.Contains(err.Error(), "no users") {
		t.Error(err)
	}
}

func TestUsers(t *testing.T) {
	line, err := adminui.UserLine("ann", password)
	if err != nil {
		t.Fatal(err)
	}
	all, err := adminui.ReadUsers("# who may look\n\n" + line + "\r\n")
	if err != nil || len(all) != 1 || bcrypt.CompareHashAndPassword([]byte(all["ann"]), []byte(password)) != nil {
		t.Errorf("%v, %v", all, err)
	}
	for text, why := range map[string]string{
		"ann":                     "line 1: behind \"ann\"",
		"\nann:secret":            "line 2: behind \"ann\"",
		":" + all["ann"]:          "line 1: a user's name",
		line + "\n" + line + "\n": "line 2: user \"ann\" is there twice",
		" ann :" + all["ann"]:     "line 1: a user's name",
	} {
		if _, err := adminui.ReadUsers(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, wrong := range [][2]string{{"", password}, {"a:b", password}, {" a", password}, {"a\n", password}, {strings.Repeat("a", 65), password},
		{"ann", "short"}, {"ann", strings.Repeat("x", 73)}} {
		if _, err := adminui.UserLine(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}
