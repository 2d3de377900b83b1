package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"partyline/internal/bearer"
	"partyline/rule"
	"partyline/subjects"
	"partyline/token"
	"partyline/wire/msg"
)

// readTokens reads a `tokens` section, of the file or of a variable.
func readTokens(n node) []token.Issuer {
	var issuers []token.Issuer
	if n.isNull() {
		return nil // all of it is commented out
	}
	for _, item := range n.items("of issuers such as [{name: main, issuer: https://id.example, …}]") {
		i := readIssuer(item)
		if slices.ContainsFunc(issuers, func(before token.Issuer) bool { return before.Name == i.Name && i.Name != "" }) {
			item.fault("the name %s is used twice; choose another", quote(i.Name))
		}
		issuers = append(issuers, i)
	}
	return issuers
}

func readIssuer(n node) token.Issuer {
	i, before := token.Default(), len(n.loader.faults)
	places := map[string]node{}
	at := func(label string, read func(node)) field {
		return field{label, func(n node) { places[label] = n; read(n) }}
	}
	texts := func(label string, to *string) field {
		return at(label, func(n node) { *to = scalar(n, anyText) })
	}
	n.fields(
		texts("name", &i.Name), texts("issuer", &i.Issuer), texts("audience", &i.Audience), texts("claim", &i.Claim),
		texts("jwks_url", &i.JWKSURL), texts("jwks_file", &i.JWKSFile),
		texts("public_key_file", &i.PublicKeyFile), texts("hmac_secret_file", &i.HMACSecretFile),
		at("algorithms", func(n node) { i.Algorithms = readTexts(n, anyText) }),
		at("leeway", func(n node) { i.Leeway = scalar(n, parseDuration) }),
		at("max_lifetime", func(n node) { i.MaxLifetime = scalar(n, parseDuration) }),
	)
	if n.Kind != yaml.MappingNode || len(n.loader.faults) > before {
		return i
	}
	for _, fault := range i.Faults() {
		place, isGiven := places[fault.Key]
		switch {
		case isGiven:
			place.fault("%s", fault.Problem)
		case fault.Key != "":
			n.fault("%s %s", fault.Key, fault.Problem)
		default:
			n.fault("%s", fault.Problem)
		}
	}
	return i
}

func anyText(s string) (text, problem string) { return s, "" }

// tokenPlace is the check of an item of token.from. It does not repeat it: it may be a token.
func tokenPlace(s string) (place, problem string) {
	_, cookie, isCookie := strings.Cut(s, bearer.Cookie)
	_, bad := cookieName(cookie)
	if !bearer.IsPlace(s) || isCookie && bad != "" {
		problem = "has an item that is no place for a token; write auth, authorization, cookie:NAME or query:NAME"
	}
	return s, problem
}

// tokenEvent is the check of token.event.
func tokenEvent(s string) (event, problem string) {
	switch {
	case s == "":
		problem = "is empty; name the event by which clients show a new token, such as partyline:token"
	case msg.IsReserved(s) || slices.Contains(ownEvents, s):
		problem = quote(s) + " has another meaning already; choose another name"
	case mayBeURL(s):
		problem = quote(s) + " is a URL; name an event"
	}
	return s, problem
}

// userRoom is the check of user_room.
func userRoom(s string) (prefix, problem string) {
	const most = 64 // bytes, so that most of a room's name is the user's
	_, err := subjects.AppendRoom(nil, s+"x")
	switch {
	case s == "" || len(s) > most || err != nil || mayBeURL(s) || strings.ContainsAny(s, "* ") || subjects.IsSocketID(s+"x"):
		problem = quote(s) + " cannot begin the rooms of users; write at most 64 letters and marks other than *, such as user:"
	}
	return s, problem
}

// validateAdmission checks how a namespace admits, and its users' rooms.
func validateAdmission(n node, ns *rule.Namespace) {
	switch isToken := ns.Connect == rule.ConnectToken; {
	case isToken && len(ns.Tokens) == 0:
		n.fault("has connect: token and no tokens; name the issuers whose tokens open it, such as tokens: [main]")
	case !isToken && len(ns.Tokens) > 0:
		n.fault("has tokens that do nothing without connect: token; add that, or remove them")
	}
	if ns.UserRoom == "" {
		return
	}
	for _, room := range ns.AutoJoin {
		if strings.HasPrefix(room, ns.UserRoom) {
			n.fault("auto_join: %s is a room of a user (user_room: %s), which no other socket may enter; choose another", quote(room), quote(ns.UserRoom))
		}
	}
	for _, pattern := range ns.Rooms {
		if fixed, _, _ := strings.Cut(pattern, "*"); strings.HasPrefix(fixed, ns.UserRoom) {
			n.fault("rooms: %s would match rooms of users alone (user_room: %s), which clients never enter by themselves; remove it", quote(pattern), quote(ns.UserRoom))
		}
	}
}

// validateTokens checks tokens against the namespaces, and where they are looked for.
func (l *loader) validateTokens(c *Config) {
	used := map[string]bool{}
	for _, n := range l.issuers {
		known := slices.ContainsFunc(c.Tokens, func(i token.Issuer) bool { return i.Name == n.Value })
		if used[n.Value] = true; !known {
			var names []string
			for _, i := range c.Tokens {
				names = append(names, i.Name)
			}
			n.fault("%s is no name in the section tokens%s; add it there, or remove it here", quote(n.Value), didYouMean(n.Value, names))
		}
	}
	for _, i := range c.Tokens {
		if !used[i.Name] {
			l.warn("tokens: %s: does nothing: no namespace names it in its own tokens", quote(i.Name))
		}
		if i.Leeway > c.Token.Grace {
			l.warn("token.grace: %s is shorter than the leeway of %s, %s: clients are let in with a token that has just expired, and closed at once",
				c.Token.Grace, quote(i.Name), i.Leeway)
		}
	}
	if len(c.Token.From) == 0 {
		l.fault(l.at("token.from"), "is empty, so that no token could be found; write auth")
	}
	isCookie := func(place string) bool { return strings.HasPrefix(place, bearer.Cookie) }
	if slices.ContainsFunc(c.Token.From, isCookie) && slices.Contains(c.CORS.Origins, "*") {
		l.fault(l.at("token.from"), "a cookie, and cors.origins \"*\": any page could connect as the user of the browser that shows it; "+
			"list the origins of your own pages, or let them show the token in auth")
	}
}

// shownTokens are issuers without what may be secret: the queries of their URLs.
func shownTokens(issuers []token.Issuer) []token.Issuer {
	shown := slices.Clone(issuers)
	for i := range shown {
		if before, _, has := strings.Cut(shown[i].JWKSURL, "?"); has {
			shown[i].JWKSURL = before + "?" + hidden
		}
	}
	return shown
}
