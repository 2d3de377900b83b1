package tokens

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"partyline/config"
	"partyline/token"
	"partyline/wire/msg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the command, and returns what it writes.
func run(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = Run(t.Context(), config.FlavourEdge, args, nil, strings.NewReader(stdin), &out, &err)
	return status, out.String(), err.String()
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The two lines of the usage: the first makes a secret, a token and a configuration that accepts the token.
func TestTwoLinesToBegin(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	status, raw, yaml := run(t, "", "--secret", "dev.secret", "--user", "ann", "--join", "lobby-*,a", "--emit=", "--rooms", "r", "--data", `{"a":1}`, "--for", "1h")
	if status != 0 || !strings.Contains(yaml, filepath.Join(folder, "dev.secret")+" is new") {
		t.Fatalf("status %d, %s", status, yaml)
	}
	if info, err := os.Stat("dev.secret"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	file := write(t, yaml)
	want := "accepted, of the issuer dev\n  user: ann\n  rooms: r, user:ann\n  join: lobby-*, a\n  leave: *\n  emit: none\n  data: {\"a\":1}\n  expires: "
	for _, args := range [][]string{{"--check", "--config", file}, {"--check", "--config", file, raw}} {
		stdin := ""
		if len(args) < 4 {
			stdin = raw
		}
		status, out, problem := run(t, stdin, args...)
		if status != 0 || !strings.Contains(out, "*: "+want) || strings.Contains(out+problem, strings.TrimSpace(raw[strings.LastIndexByte(raw, '.')+1:])) {
			t.Errorf("status %d: %s%s", status, out, problem)
		}
	}
	// The secret stays, and the configuration makes tokens, too.
	if _, _, again := run(t, "", "--secret", "dev.secret", "--user", "bob"); strings.Contains(again, "is new") {
		t.Error(again)
	}
	status, raw, problem := run(t, "", "--config", file, "--user", "bob", "--for", "24h")
	if status != 0 || problem != "" {
		t.Fatalf("status %d, %s", status, problem)
	}
	if status, out, _ := run(t, raw, "--check", "--config", file); status != 0 || !strings.Contains(out, "user: bob\n  rooms: user:bob\n  join: *\n  leave: *\n  emit: *\n  data: none") {
		t.Errorf("status %d: %s", status, out)
	}
}

// Each reason for a refusal comes with what the token has, and what it should have.
func TestRefused(t *testing.T) {
	secret := write(t, strings.Repeat("s3cret", 6))
	entry := token.Default()
	entry.Name, entry.Issuer, entry.Audience, entry.Algorithms, entry.HMACSecretFile = "main", "i", "a", []string{"HS256"}, secret
	sign := func(change func(*token.Issuer), g msg.Grant) string {
		i := entry
		change(&i)
		raw, err := i.Sign(g, min(i.MaxLifetime, 2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := func(*token.Issuer) {}
	keys := httptest.NewServer(http.NotFoundHandler())
	defer keys.Close()
	file := write(t, `
tokens:
  - {name: main, issuer: i, audience: a, hmac_secret_file: `+secret+`, algorithms: [HS256]}
  - {name: keys, issuer: k, audience: a, jwks_url: "`+keys.URL+`", algorithms: [RS256]}
namespaces:
  /open: {connect: open}
  /chat: {connect: token, tokens: [main], user_room: "user:"}
`)
	for name, test := range map[string]struct{ raw, want string }{
		"nothing":  {"", "token malformed: it must be three parts"},
		"no JSON":  {"a.b.c", "header: no JSON object as base64url\nclaims: no JSON object"},
		"issuer":   {sign(func(i *token.Issuer) { i.Issuer = "other" }, msg.Grant{User: "ann"}), `token issuer unknown: iss is "other", and the namespace takes "i" (main)`},
		"audience": {sign(func(i *token.Issuer) { i.Audience = "other" }, msg.Grant{User: "ann"}), `token audience wrong: aud is "other", and main wants "a"`},
		"lifetime": {sign(func(i *token.Issuer) { i.MaxLifetime = 2 * time.Hour }, msg.Grant{User: "ann"}), "token lifetime too long: from iat to exp it is more than max_lifetime of main, 1h0m0s"},
		"secret":   {sign(func(i *token.Issuer) { i.HMACSecretFile = write(t, strings.Repeat("x", 32)) }, msg.Grant{User: "ann"}), "token signature invalid: it was not signed with the key of main"},
		"hash": {sign(func(i *token.Issuer) {
			i.Algorithms, i.HMACSecretFile = []string{"HS512"}, write(t, strings.Repeat("x", 64))
		}, msg.Grant{User: "ann"}), `token algorithm not allowed: alg is "HS512", and main takes HS256`},
		"expired": {sign(good, msg.Grant{User: "ann", Expires: 1000}), "token expired: exp is "},
		"grant":   {sign(good, msg.Grant{User: "ann", Join: []string{""}}), "token grant invalid: the claim partyline: "},
		"user":    {sign(good, msg.Grant{User: strings.Repeat("a.", 20)}), "refused: a user's name with user_room"},
	} {
		status, out, problem := run(t, test.raw, "--check", "--config", file)
		if status != 1 || !strings.Contains(out, test.want) || strings.Contains(out, "/open") {
			t.Errorf("%s: status %d: %s%s, want %s", name, status, out, problem, test.want)
		}
	}
	if status, out, _ := run(t, sign(good, msg.Grant{User: "ann"}), "--check"); status != 1 || !strings.Contains(out, "no namespace in the configuration has connect: token") {
		t.Errorf("status %d: %s", status, out)
	}
}

// While the issuer's server is away, the command says so, and why.
func TestKeysAway(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for keys")
	}
	t.Parallel()
	keys := httptest.NewServer(http.NotFoundHandler())
	defer keys.Close()
	file := write(t, `
tokens: [{name: main, issuer: i, audience: a, jwks_url: "`+keys.URL+`", algorithms: [RS256]}]
namespaces: {/chat: {connect: token, tokens: [main]}}
`)
	status, out, problem := run(t, "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJpIn0.YQ", "--check", "--config", file)
	if status != 1 || !strings.Contains(out, "token keys not available: the keys of main could not be fetched within 7s") || !strings.Contains(problem, "status 404") {
		t.Errorf("status %d: %s%s", status, out, problem)
	}
}

func TestArguments(t *testing.T) {
	secret := write(t, strings.Repeat("s", 32))
	entry := func(name string) string {
		return "{name: " + name + ", issuer: i, audience: a, hmac_secret_file: " + secret + ", algorithms: [HS256]}"
	}
	two := write(t, "tokens: ["+entry("one")+", "+entry("two")+"]\n")
	for name, test := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"help":            {[]string{"--help"}, 0, "Usage: edge token"},
		"no user":         {nil, 2, "--user is missing"},
		"unknown flag":    {[]string{"--usr", "s3cret"}, 2, "an argument is unknown"},
		"bad time":        {[]string{"--user=a", "--for=s3cret"}, 2, "has a bad value"},
		"a token to make": {[]string{"--user=a", "s3cret"}, 2, "too many arguments"},
		"two tokens":      {[]string{"--check", "s3cret", "s3cret"}, 2, "too many arguments"},
		"both":            {[]string{"--user=a", "--secret=x", "--config=x"}, 2, "--secret and --config are given"},
		"no issuer":       {[]string{"--user=a"}, 2, "begin with --secret FILE"},
		"two issuers":     {[]string{"--user=a", "--config", two}, 2, "name one with --issuer"},
		"one of two":      {[]string{"--user=a", "--config", two, "--issuer=two"}, 0, ""},
		"another issuer":  {[]string{"--user=a", "--config", two, "--issuer=three"}, 2, "no issuer of that name"},
		"faults":          {[]string{"--user=a", "--config", write(t, "x: 1\n")}, 2, "x: unknown key"},
		"faults, check":   {[]string{"--check", "--config", write(t, "x: 1\n"), "s3cret"}, 2, "x: unknown key"},
		"too long":        {[]string{"--user=a", "--config", two, "--issuer=two", "--for=2h"}, 1, "max_lifetime, which is 1h"},
		"bad pattern":     {[]string{"--user=a", "--config", two, "--issuer=two", "--join", strings.Repeat("x", 600)}, 2, "make no grant"},
		"bad data":        {[]string{"--user=a", "--config", two, "--issuer=two", "--data={"}, 2, "--data is not JSON"},
		"short secret":    {[]string{"--user=a", "--secret", write(t, "s3cret")}, 1, "shorter than 32 bytes"},
		"no folder":       {[]string{"--user=a", "--secret", "/nowhere/x"}, 1, "the secret cannot be written"},
	} {
		status, out, problem := run(t, "", test.args...)
		if said := out + problem; status != test.status || !strings.Contains(said, test.want) || strings.Contains(said, "s3cret") {
			t.Errorf("%s: status %d: %s, want %d, %s", name, status, said, test.status, test.want)
		}
	}
}
