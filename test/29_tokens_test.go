package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
)

// issuer is an entry of the configuration whose keys are those of one of the functions of edgetest.
func issuer(name string, change ...func(*token.Issuer)) token.Issuer {
	i := token.Default()
	i.Name, i.Issuer, i.Audience = name, edgetest.TokenIssuer, edgetest.TokenAudience
	for _, c := range change {
		c(&i)
	}
	return i
}

// withPublic and withSecret give an issuer the key of one of its tokens.
func withPublic(k *edgetest.TokenKey) func(*token.Issuer) {
	return func(i *token.Issuer) { i.PublicKeyFile, i.Algorithms = k.PublicFile(), []string{k.Alg} }
}

func withSecret(k *edgetest.TokenKey) func(*token.Issuer) {
	return func(i *token.Issuer) { i.HMACSecretFile, i.Algorithms = k.SecretFile(), []string{k.Alg} }
}

// withTokens declares issuers, and where tokens are looked for.
func withTokens(issuers []token.Issuer, change ...func(*config.Token)) func(*edgetest.Options) {
	return func(o *edgetest.Options) {
		o.Tokens = issuers
		o.Token = config.Default(config.FlavourEdge).Token
		for _, c := range change {
			c(&o.Token)
		}
	}
}

// guarded by tokens: /chat and /admin by one issuer each, /lobby by nothing.
func tokenRules() rules {
	return rules{
		"/chat":  {Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:", Rooms: []string{"lobby-*"}, Relay: []rule.Relay{{Event: "say", To: rule.ToRooms}, lap}},
		"/admin": {Connect: rule.ConnectToken, Tokens: []string{"admin"}},
		"/lobby": {Connect: rule.ConnectOpen},
	}
}

const minutes = 10 * time.Minute

// refusal reads a CONNECT_ERROR.
func (g *guest) refusal(answer string) (message, code string) {
	g.t.Helper()
	var refused struct {
		Message string
		Data    struct{ Code string }
	}
	body, ok := strings.CutPrefix(answer, "4"+g.head)
	if !ok || json.Unmarshal([]byte(body), &refused) != nil {
		g.t.Fatalf("%q came instead of a refusal", answer)
	}
	return refused.Message, refused.Data.Code
}

// bad is a token that must open nothing, and the code of its refusal.
type bad struct{ name, token, code string }

// badTokens are refused by an issuer with this key.
func badTokens(key, admin *edgetest.TokenKey) []bad {
	claims := func(more edgetest.Claims) string { return key.Sign(edgetest.Subject("ann", minutes, more), nil) }
	header := func(h edgetest.Claims) string { return key.Sign(edgetest.Subject("ann", minutes, nil), h) }
	grant := func(g any) string { return claims(edgetest.Claims{"partyline": g}) }
	now := time.Now().Unix()
	good := claims(nil)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	stranger := *key
	stranger.Private = edgetest.ECKey(key.T, "").Private
	confused := edgetest.TokenKey{Alg: "HS256", ID: key.ID, Secret: key.PublicPEM(), T: key.T}
	return []bad{
		{"expired", claims(edgetest.Claims{"iat": now - 1200, "exp": now - 600}), "token_expired"},
		{"nbf in the future", claims(edgetest.Claims{"nbf": now + 300}), "token_not_valid_yet"},
		{"iat in the future", claims(edgetest.Claims{"iat": now + 300, "exp": now + 600}), "token_not_valid_yet"},
		{"another issuer", claims(edgetest.Claims{"iss": "https://evil.example"}), "token_issuer_unknown"},
		{"another issuer's key", stranger.Sign(edgetest.Subject("ann", minutes, nil), nil), "token_signature_invalid"},
		{"another audience", claims(edgetest.Claims{"aud": "shop"}), "token_audience_wrong"},
		{"for another namespace", admin.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"iss": "https://admin.example"}), nil), "token_issuer_unknown"},
		{"without exp", claims(edgetest.Claims{"exp": nil}), "token_claims_invalid"},
		{"without iat", claims(edgetest.Claims{"iat": nil}), "token_claims_invalid"},
		{"without iss", claims(edgetest.Claims{"iss": nil}), "token_issuer_unknown"},
		{"without aud", claims(edgetest.Claims{"aud": nil}), "token_claims_invalid"},
		{"without sub", claims(edgetest.Claims{"sub": nil}), "token_claims_invalid"},
		{"an empty sub", claims(edgetest.Claims{"sub": ""}), "token_claims_invalid"},
		{"a number as sub", claims(edgetest.Claims{"sub": 7}), "token_claims_invalid"},
		{"a sub that no header holds", claims(edgetest.Claims{"sub": "ann\r\nSio-User: root"}), "token_claims_invalid"},
		{"a sub that no room holds", claims(edgetest.Claims{"sub": strings.Repeat("a", 508)}), "token_grant_invalid"},
		{"a sub of too many tokens", claims(edgetest.Claims{"sub": strings.Repeat("a.", 16) + "a"}), "token_grant_invalid"},
		{"longer than max_lifetime", claims(edgetest.Claims{"exp": now + 3700}), "token_lifetime_too_long"},
		{"exp as a string", claims(edgetest.Claims{"exp": "9999999999"}), "token_claims_invalid"},
		{"exp beyond all times", claims(edgetest.Claims{"exp": 1e300}), "token_claims_invalid"},
		{"crit", header(edgetest.Claims{"crit": []string{"exp"}}), "token_header_unsupported"},
		{"an empty crit", header(edgetest.Claims{"crit": []string{}}), "token_header_unsupported"},
		{"none", head64(edgetest.Claims{"alg": "none", "typ": "JWT"}) + "." + body + ".", "token_algorithm_not_allowed"},
		{"None", head64(edgetest.Claims{"alg": "None", "kid": key.ID}) + "." + body + "." + signature, "token_algorithm_not_allowed"},
		{"HMAC with the public key", confused.Sign(edgetest.Subject("ann", minutes, nil), nil), "token_algorithm_not_allowed"},
		{"an algorithm that is not listed", header(edgetest.Claims{"alg": "ES384"}), "token_algorithm_not_allowed"},
		{"without its signature", head + "." + body + ".", "token_signature_invalid"},
		{"with another payload", head + "." + head64(edgetest.Subject("root", minutes, nil)) + "." + signature, "token_signature_invalid"},
		{"a user in the grant that is not sub", grant(edgetest.Claims{"user": "root"}), "token_grant_invalid"},
		{"a grant that is no object", grant("all"), "token_grant_invalid"},
		{"a grant with bad rooms", grant(edgetest.Claims{"rooms": 1}), "token_grant_invalid"},
		{"a grant with bad patterns", grant(edgetest.Claims{"join": []string{""}}), "token_grant_invalid"},
		{"a grant with a room of another user", grant(edgetest.Claims{"rooms": []string{"user:bob"}}), "token_grant_invalid"},
		{"a grant with a room like the id of a socket", grant(edgetest.Claims{"rooms": []string{"abcdefgh.AAAAAAAAAAAAAAAAAAAA"}}), "token_grant_invalid"},
		{"a grant that has expired", grant(edgetest.Claims{"expires": now - 600}), "token_expired"},
		{"nothing", "", "token_missing"},
		{"no token", "ann", "token_malformed"},
		{"three empty parts", "..", "token_malformed"},
		{"more parts", good + ".x", "token_malformed"},
		{"too large", grant(edgetest.Claims{"data": strings.Repeat("x", 16<<10)}), "token_malformed"},
	}
}

func head64(c edgetest.Claims) string { return edgetest.TokenPart(c) }

func TestTokensThatOpenNothing(t *testing.T) {
	key, admin := edgetest.ECKey(t, ""), edgetest.ECKey(t, "")
	s := begin(t, tokenRules(), withTokens([]token.Issuer{
		issuer("main", withPublic(key)),
		issuer("admin", withPublic(admin), func(i *token.Issuer) { i.Issuer = "https://admin.example" }),
	}))
	tokens := badTokens(key, admin)
	good := key.Sign(edgetest.Subject("ann", minutes, nil), nil)
	everyWay(s, func(s *stage, w way) {
		connects := s.hear("sio.*.on.connect")
		g, answer := s.present(w, "/chat", tokens[0].token)
		for i, b := range tokens {
			if i > 0 {
				g.connect(b.token)
				answer, _ = g.hear()
			}
			message, code := g.refusal(answer)
			if !strings.HasPrefix(message, "token ") || b.code != "" && code != b.code || !strings.HasPrefix(code, "token_") {
				s.t.Errorf("%s: refused with %q and %q, want %q", b.name, message, code, b.code)
			}
		}
		// A refusal ends nothing: the next token counts.
		g.connect(good)
		answer, _ = g.hear()
		g.connected(answer)
		if m := connects.Next(); m.Subject != "sio.chat.on.connect" || m.Reply != "sio.chat.emit.socket."+g.id {
			s.t.Errorf("of all tokens, the first notice came of %s, reply %s", m.Subject, m.Reply)
		}
	})
}

// A token opens the namespaces that list its issuer, and no other.
func TestATokenOpensItsNamespaces(t *testing.T) {
	key, admin := edgetest.ECKey(t, "k1"), edgetest.HMACKey(t)
	s := begin(t, tokenRules(), withTokens([]token.Issuer{
		issuer("main", withPublic(key)), issuer("admin", withSecret(admin), func(i *token.Issuer) { i.Audience = "admin" }),
	}))
	forChat := key.Sign(edgetest.Subject("ann", minutes, nil), nil)
	forAdmin := admin.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"aud": []string{"other", "admin"}}), nil)
	everyWay(s, func(s *stage, w way) {
		g, answer := s.present(w, "/admin", forChat)
		if _, code := g.refusal(answer); code == "" {
			s.t.Errorf("the refusal is %s", answer)
		}
		g.connect(forAdmin)
		answer, _ = g.hear()
		g.connected(answer)
		g.head = "/chat,"
		g.connect(forAdmin)
		answer, _ = g.hear()
		g.refusal(answer)
		g.connect(forChat)
		answer, _ = g.hear()
		g.connected(answer)
	})
}

// Every kind of key, and what a good token brings: the user, the rooms and the data of its grant.
func TestTokensThatAreGood(t *testing.T) {
	ec, rsa, secret := edgetest.ECKey(t, "ec"), edgetest.RSAKey(t, ""), edgetest.HMACKey(t)
	set := edgetest.NewKeyServer(t, edgetest.RSAKey(t, "old"), ec)
	ns := rule.Namespace{Connect: rule.ConnectToken, Tokens: []string{"jwks", "pem", "hmac"}}
	s := begin(t, rules{"/chat": ns}, withTokens([]token.Issuer{
		issuer("jwks", func(i *token.Issuer) { i.JWKSURL, i.Algorithms, i.Issuer = set.URL, []string{"RS256", "ES256"}, "jwks" }),
		issuer("pem", withPublic(rsa), func(i *token.Issuer) { i.Issuer, i.Leeway = "pem", time.Minute }),
		issuer("hmac", withSecret(secret), func(i *token.Issuer) { i.Issuer, i.Claim = "hmac", "https://partyline.example/grant" }),
	}))
	now := time.Now().Unix()
	everyWay(s, func(s *stage, w way) {
		for _, c := range []struct {
			key  *edgetest.TokenKey
			more edgetest.Claims
		}{
			{ec, edgetest.Claims{"iss": "jwks", "partyline": edgetest.Claims{"rooms": []string{"team"}, "data": 7, "user": "ann"}}},
			{rsa, edgetest.Claims{"iss": "pem", "exp": now - 20, "iat": now - 600, "partyline": edgetest.Claims{"rooms": []string{"team"}, "data": 7}}},
			{secret, edgetest.Claims{"iss": "hmac", "nbf": now - 5, "https://partyline.example/grant": edgetest.Claims{"rooms": []string{"team"}, "data": 7}}},
		} {
			on := s.hear("sio.chat.on.>")
			g := s.admit(w, "/chat", c.key.Sign(edgetest.Subject("ann", minutes, c.more), nil))
			m := on.Next()
			if m.Subject != "sio.chat.on.connect" || m.Header.Get("Sio-User") != "ann" || m.Reply != "sio.chat.emit.socket."+g.id {
				s.t.Errorf("the notice is %s, reply %s, %v", m.Subject, m.Reply, m.Header)
			}
			s.Publish("sio.chat.emit.room.team", `["hello"]`)
			g.gets(`2/chat,["hello"]`)
			g.say(`2/chat,["hi"]`)
			if m := on.Next(); m.Header.Get("Sio-User") != "ann" {
				s.t.Errorf("the event's headers are %v", m.Header)
			}
			answer := string(s.Ask("sio.chat.fetch.socket."+g.id, "[]").Data)
			for _, want := range []string{`"user":"ann"`, `"team"`, `"data":7`} {
				if !strings.Contains(answer, want) {
					s.t.Errorf("it is %s, without %s", answer, want)
				}
			}
			g.say("1/chat,")
			on.Next()
		}
	})
}

// The places of a token, and which one counts.
func TestWhereATokenIsLookedFor(t *testing.T) {
	key := edgetest.ECKey(t, "k1")
	s := begin(t, tokenRules(), withTokens([]token.Issuer{issuer("main", withPublic(key)), issuer("admin", withPublic(key), func(i *token.Issuer) { i.Audience = "admin" })},
		func(c *config.Token) { c.From = []string{"auth", "authorization", "cookie:sid", "query:token"} }))
	of := func(user string) string { return key.Sign(edgetest.Subject(user, minutes, nil), nil) }
	everyWay(s, func(s *stage, w way) {
		for user, c := range map[string]struct {
			query, auth string
			header      http.Header
		}{
			"auth":          {auth: `{"token":"` + of("auth") + `"}`},
			"authorization": {header: http.Header{"Authorization": {"Bearer " + of("authorization")}}},
			"cookie":        {header: http.Header{"Cookie": {"a=b; sid=" + of("cookie") + "; c=d"}}},
			"query":         {query: "token=" + of("query")},
			"first":         {auth: `{"token":"` + of("first") + `"}`, query: "token=" + of("last"), header: http.Header{"Cookie": {"sid=" + of("second")}}},
		} {
			on := s.hear("sio.chat.on.connect")
			g := &guest{talker: w.open(s, c.query, c.header), t: s.t, head: "/chat,"}
			g.say("0/chat," + c.auth)
			answer, _ := g.hear()
			g.connected(answer)
			if got := on.Next().Header.Get("Sio-User"); got != user {
				s.t.Errorf("%s: the user is %q", user, got)
			}
		}
	})
}

// By default only auth counts.
func TestOtherPlacesMustBeNamed(t *testing.T) {
	key := edgetest.ECKey(t, "k1")
	s := begin(t, tokenRules(), withTokens([]token.Issuer{issuer("main", withPublic(key)), issuer("admin", withPublic(key), func(i *token.Issuer) { i.Audience = "admin" })}))
	good := key.Sign(edgetest.Subject("ann", minutes, nil), nil)
	everyWay(s, func(s *stage, w way) {
		g := &guest{talker: w.open(s, "token="+good+"&t="+good, http.Header{"Authorization": {"Bearer " + good}, "Cookie": {"token=" + good}}), t: s.t, head: "/chat,"}
		g.say("0/chat,")
		answer, _ := g.hear()
		if _, code := g.refusal(answer); code != "token_missing" {
			s.t.Errorf("the refusal is %s", answer)
		}
	})
}
