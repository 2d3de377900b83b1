package config

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/rule"
	"partyline/token"
)

func init() { maps.Copy(badConfigurations, badTokens) }

// openedByMain declares a namespace that the issuer main opens.
const openedByMain = `namespaces: {/chat: {connect: token, tokens: [main]}}` + "\n"

// issuer is the beginning of one that has no faults with the rest.
const issuer = "tokens: [{name: main, issuer: https://id.example, audience: partyline, "

var badTokens = map[string]bad{
	"an issuer without anything": {file: "tokens: [{}]\n", want: []string{
		"FILE:1: tokens[0]: name must be at most 64 letters", "FILE:1: tokens[0]: issuer is missing",
		"FILE:1: tokens[0]: audience is missing; write what the claim aud of the tokens must hold, such as partyline: without it, a token that the issuer made for another service would open this one",
		"FILE:1: tokens[0]: algorithms is missing", "FILE:1: tokens[0]: has no keys; write one of jwks_url, jwks_file, public_key_file or hmac_secret_file",
	}},
	"an issuer without audience": {file: "tokens:\n  - name: main\n    issuer: a\n    jwks_url: https://id.example/keys\n    algorithms: [RS256]\n" + openedByMain, want: []string{
		"FILE:2: tokens[0]: audience is missing",
	}},
	"HMAC and public keys": {file: issuer + "jwks_url: https://id.example/keys,\n algorithms: [RS256, HS256]}]\n" + openedByMain, want: []string{
		"FILE:2: tokens[0]: algorithms: HS256 needs hmac_secret_file, and cannot stand beside public keys",
	}},
	"two sources of keys": {file: issuer + "jwks_url: https://id.example/keys, jwks_file: s3cret, algorithms: [RS256]}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: has 2 sources of keys; keep one of",
	}},
	"algorithm none": {file: issuer + "jwks_url: https://id.example/keys, algorithms: [none]}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: algorithms: none would accept unsigned tokens",
	}},
	"keys over http": {file: issuer + "jwks_url: http://id.example/keys, algorithms: [RS256]}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: jwks_url: must begin with https://",
	}},
	"a secret in place of its file": {file: issuer + "hmac_secret_file: s3cret, algorithms: [HS256]}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: hmac_secret_file: the file cannot be read: no such file or directory",
	}},
	"a secret in the URL": {file: issuer + "jwks_url: 'https://ann:s3cret@id.example', algorithms: [RS256]}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: jwks_url: has a user or a password in it",
	}},
	"leeway and lifetime": {file: issuer + "jwks_url: https://id.example, algorithms: [RS256], leeway: 2m, max_lifetime: 0s}]\n" + openedByMain, want: []string{
		"FILE:1: tokens[0]: leeway: 2m0s is not between 0s and 1m0s", "FILE:1: tokens[0]: max_lifetime: 0s is not between 1s and",
	}},
	"shapes of issuers": {file: "tokens: [7, {leeway: soon, algorithms: RS256, names: x}]\n", want: []string{
		"FILE:1: tokens[0]: must hold keys", `FILE:1: tokens[1]: leeway: "soon" is not a duration`,
		"FILE:1: tokens[1]: algorithms: must be a list", `FILE:1: tokens[1]: unknown key "names"; did you mean name?`,
	}},
	"tokens is no list":       {file: "tokens: {main: {}}\n", want: []string{"FILE:1: tokens: must be a list of issuers"}},
	"tokens in the variables": {environ: []string{"PARTYLINE_TOKENS=[{}"}, want: []string{`PARTYLINE_TOKENS: is not JSON (unexpected end of JSON input); write an array such as [{"name":"main"`}},
	"tokens as a flag":        {args: []string{"--tokens=[]"}, want: []string{"--tokens: tokens cannot be a flag; put them in the file (--config), or as JSON in PARTYLINE_TOKENS"}},
	"a name twice": {file: "tokens:\n- &a {name: main, issuer: a, audience: b, jwks_url: https://id.example, algorithms: [RS256]}\n- *a\n" + openedByMain, want: []string{
		`FILE:3: tokens[1]: the name "main" is used twice; choose another`,
	}},
	"an unknown issuer": {file: issuer + "jwks_url: https://id.example, algorithms: [RS256]}]\nnamespaces:\n  /chat:\n    connect: token\n    tokens: [main, mainn]\n", want: []string{
		`FILE:5: namespaces: "/chat": tokens[1]: "mainn" is no name in the section tokens; did you mean main?; add it there`,
	}},
	"no issuers": {environ: []string{`PARTYLINE_NAMESPACES={"/":{"connect":"token","tokens":["main"]}}`}, want: []string{
		`PARTYLINE_NAMESPACES: namespaces: "/": tokens[0]: "main" is no name in the section tokens`,
	}},
	"token without tokens": {file: "namespaces: {/a: {connect: token}, /b: {connect: token, tokens: []}}\n", want: []string{
		`FILE:1: namespaces: "/a": has connect: token and no tokens; name the issuers`, `FILE:1: namespaces: "/b": has connect: token and no tokens`,
	}},
	"tokens without token": {file: issuer + "jwks_url: https://id.example, algorithms: [RS256]}]\nnamespaces: {/a: {connect: open, tokens: [main]}}\n", want: []string{
		`FILE:2: namespaces: "/a": has tokens that do nothing without connect: token`,
	}},
	"rooms of users": {file: "namespaces:\n  /a: {connect: open, user_room: 'user:', auto_join: [a, 'user:ann'], rooms: ['*', 'user*', 'user:*', 'user:a*']}\n  /b: {user_room: ''}\n  /c: {user_room: 'u*'}\n", want: []string{
		`FILE:2: namespaces: "/a": auto_join: "user:ann" is a room of a user (user_room: "user:")`,
		`FILE:2: namespaces: "/a": rooms: "user:*" would match rooms of users alone`, `FILE:2: namespaces: "/a": rooms: "user:a*" would match`,
		`FILE:3: namespaces: "/b": user_room: "" cannot begin the rooms of users`, `FILE:4: namespaces: "/c": user_room: "u*" cannot begin`,
	}},
	"places of tokens": {args: []string{"--token.from=auth,s3cret,cookie:,cookie:s3cret x,query:"}, want: []string{
		"--token.from: has an item that is no place for a token; write auth, authorization, cookie:NAME or query:NAME",
		"--token.from: has an item", "--token.from: has an item", "--token.from: has an item",
	}},
	"no places":                    {args: []string{"--token.from="}, want: []string{"--token.from: is empty, so that no token could be found; write auth"}},
	"a cookie and pages of anyone": {args: []string{"--token.from=auth,cookie:sid", "--cors.origins=*"}, want: []string{`--token.from: a cookie, and cors.origins "*": any page could connect as the user`}},
	"events of tokens":             {args: []string{"--token.event="}, want: []string{"--token.event: is empty"}},
	"events with another meaning":  {file: "token: {event: join, grace: -1s}\n", want: []string{`FILE:1: token.event: "join" has another meaning`, "FILE:1: token.grace: -1s is negative"}},
}

func TestTokens(t *testing.T) {
	secret := write(t, strings.Repeat("s3cret", 6))
	yaml := `
tokens:
  - name: main
    issuer: https://id.example
    audience: partyline
    jwks_url: https://id.example/keys?tenant=7
    algorithms: [RS256, ES256]
  - {name: dev, issuer: dev, audience: partyline, hmac_secret_file: ` + secret + `, algorithms: [HS256], claim: "https://a.example/grant", leeway: 0s, max_lifetime: 24h}
token: {from: [authorization, "cookie:sid"], event: renew, grace: 1m}
namespaces:
  /chat: {connect: token, tokens: [main, dev], user_room: "user:", rooms: ["*"]}
`
	want := []token.Issuer{
		{Name: "main", Issuer: "https://id.example", Audience: "partyline", JWKSURL: "https://id.example/keys?tenant=7", Algorithms: []string{"RS256", "ES256"},
			Claim: "partyline", Leeway: 5 * time.Second, MaxLifetime: time.Hour},
		{Name: "dev", Issuer: "dev", Audience: "partyline", HMACSecretFile: secret, Algorithms: []string{"HS256"},
			Claim: "https://a.example/grant", MaxLifetime: 24 * time.Hour},
	}
	namespace := rule.Namespace{Connect: rule.ConnectToken, ConnectTimeout: rule.DefaultConnectTimeout, Tokens: []string{"main", "dev"}, UserRoom: "user:", Rooms: []string{"*"}}
	inFile := mustLoad(t, FlavourEdge, []string{"--config", write(t, yaml)}, nil)
	inVariables := mustLoad(t, FlavourEdge, nil, []string{
		`PARTYLINE_NAMESPACES={"/chat":{"connect":"token","tokens":["main","dev"],"user_room":"user:","rooms":["*"]}}`, "PARTYLINE_TOKEN_EVENT=renew",
		"PARTYLINE_TOKEN_FROM=authorization,cookie:sid", "PARTYLINE_TOKEN_GRACE=1m",
		`PARTYLINE_TOKENS=[{"name":"main","issuer":"https://id.example","audience":"partyline","jwks_url":"https://id.example/keys?tenant=7","algorithms":["RS256","ES256"]},` +
			`{"name":"dev","issuer":"dev","audience":"partyline","hmac_secret_file":"` + secret + `","algorithms":["HS256"],"claim":"https://a.example/grant","leeway":"0s","max_lifetime":"24h"}]`,
	})
	for _, loaded := range []Loaded{inFile, inVariables} {
		c := loaded.Config
		if !reflect.DeepEqual(c.Tokens, want) || !reflect.DeepEqual(c.Namespaces["/chat"], namespace) || len(loaded.Warnings) > 0 {
			t.Errorf("\n got %+v\nwant %+v\n%+v, %q", c.Tokens, want, c.Namespaces, loaded.Warnings)
		}
		if want := (Token{From: []string{"authorization", "cookie:sid"}, Event: "renew", Grace: time.Minute}); !reflect.DeepEqual(c.Token, want) {
			t.Errorf("%+v, want %+v", c.Token, want)
		}
	}
	// What is printed loads again, without the query of the URL and without the secret.
	printed, err := inFile.Config.YAML(FlavourEdge)
	if err != nil || strings.Contains(string(printed), "s3cret") || strings.Contains(string(printed), "tenant") {
		t.Fatalf("%v, printed\n%s", err, printed)
	}
	again := mustLoad(t, FlavourEdge, []string{"--config", write(t, string(printed))}, nil).Config
	if want[0].JWKSURL = again.Tokens[0].JWKSURL; !reflect.DeepEqual(again.Tokens, want) || !reflect.DeepEqual(again.Namespaces, inFile.Config.Namespaces) {
		t.Errorf("printed\n%s\nwhich loads as %+v", printed, again.Tokens)
	}
}

// A stronger section of namespaces replaces the file's, with the issuers that it names.
func TestNamespacesOfTheVariableNameNoIssuer(t *testing.T) {
	file := write(t, "namespaces: {/a: {connect: token, tokens: [main]}}\n")
	mustLoad(t, FlavourEdge, []string{"--config", file}, []string{`PARTYLINE_NAMESPACES={"/":{}}`})
}

func TestWarningsOfTokens(t *testing.T) {
	file := filepath.ToSlash(write(t, issuer+"jwks_url: https://id.example, algorithms: [RS256]}]\ntokens.x: {}\n"))
	if _, err := Load(FlavourEdge, []string{"--config", file}, nil); err == nil {
		t.Error("tokens.x is no key")
	}
	file = write(t, issuer+"jwks_url: https://id.example, algorithms: [RS256], leeway: 30s}]\n")
	want := []string{
		`tokens: "main": does nothing: no namespace names it in its own tokens`,
		`token.grace: 25s is shorter than the leeway of "main", 30s: clients are let in with a token that has just expired, and closed at once`,
	}
	if got := mustLoad(t, FlavourEdge, []string{"--config", file}, nil).Warnings; !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	if got := mustLoad(t, FlavourEdge, []string{"--config", write(t, "tokens:\n")}, nil); len(got.Config.Tokens)+len(got.Warnings) > 0 {
		t.Errorf("%+v", got)
	}
}
