package tokens

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"partyline/config"
	"partyline/rule"
	"partyline/token"
	"partyline/wire/msg"
)

// keysWithin is how long keys are waited for: more than a fetch may take.
const keysWithin = 7 * time.Second

// explained is a token while it is explained. Its members are as in the token, and nil if it is not decoded.
type explained struct {
	raw            string
	header, claims map[string]json.RawMessage
	issuers        map[string]token.Issuer // by name
}

// explain prints what a token grants, or why it is refused.
func (c *command) explain(ctx context.Context) int {
	t := &explained{issuers: map[string]token.Issuer{}}
	if len(c.rest) > 0 {
		t.raw = c.rest[0]
	} else {
		input, err := io.ReadAll(io.LimitReader(c.stdin, 2*token.MaxSize))
		if err != nil {
			return c.fail(exitFailed, errors.New("the input cannot be read"))
		}
		t.raw = string(input)
	}
	t.raw = strings.TrimSpace(t.raw)
	loaded, err := c.load()
	if err != nil {
		return c.fail(exitUsage, err)
	}
	for _, i := range loaded.Tokens {
		t.issuers[i.Name] = i
	}
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	keys, err := token.Open(loaded.Tokens, token.Options{Log: log})
	if err != nil {
		return c.fail(exitFailed, err)
	}
	defer keys.Close()
	t.decode(c.stdout)
	return t.namespaces(ctx, c.stdout, loaded, keys)
}

// decode prints header and claims, and nothing of the signature.
func (t *explained) decode(out io.Writer) {
	parts := strings.Split(t.raw, ".")
	if len(parts) != 3 {
		return
	}
	for i, part := range []struct {
		name string
		to   *map[string]json.RawMessage
	}{{"header", &t.header}, {"claims", &t.claims}} {
		var indented bytes.Buffer
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, part.to)
		}
		if err != nil || json.Indent(&indented, text, "", "  ") != nil {
			fmt.Fprintf(out, "%s: no JSON object as base64url\n", part.name)
			continue
		}
		fmt.Fprintf(out, "%s: %s\n", part.name, indented.String())
	}
}

// namespaces prints what the token does in each namespace, and returns the exit status.
func (t *explained) namespaces(ctx context.Context, out io.Writer, c config.Config, keys *token.Keyring) int {
	status, n := exitFailed, 0
	for _, name := range slices.Sorted(maps.Keys(c.Namespaces)) {
		ns := c.Namespaces[name]
		if ns.Connect != rule.ConnectToken {
			continue
		}
		n++
		issuer, g, err := t.verify(ctx, keys, ns.Tokens)
		if err != nil {
			fmt.Fprintf(out, "%s: refused: %v%s\n", name, err, t.detail(err, issuer, ns.Tokens))
			continue
		}
		rooms, err := ns.RoomsOf(&g)
		if err != nil {
			fmt.Fprintf(out, "%s: refused: %v\n", name, err)
			continue
		}
		status = exitOK
		fmt.Fprintf(out, "%s: accepted, of the issuer %s\n  user: %s\n  rooms: %s\n  join: %s\n  leave: %s\n  emit: %s\n  data: %s\n  expires: %s\n",
			name, issuer, g.User, patterns(slices.Concat(ns.AutoJoin, rooms), nil), patterns(g.Join, ns.Rooms), patterns(g.Leave, ns.Rooms),
			patterns(g.Emit, []string{"*"}), data(g), at(time.Unix(g.Expires, 0)))
	}
	if n == 0 {
		fmt.Fprintln(out, "no namespace in the configuration has connect: token, so nothing was verified")
	}
	return status
}

// verify is Keyring.Verify for a caller that waits.
func (t *explained) verify(ctx context.Context, keys *token.Keyring, names []string) (issuer string, g msg.Grant, err error) {
	done := make(chan struct{})
	keys.Verify(names, t.raw, keysWithin, func(i string, granted msg.Grant, problem error) {
		issuer, g, err = i, granted, problem
		close(done)
	})
	select {
	case <-done:
		return issuer, g, err
	case <-ctx.Done():
		return "", msg.Grant{}, token.ErrNoKeys
	}
}

// patterns lists what a grant has; nil: otherwise.
func patterns(list, otherwise []string) string {
	if list == nil {
		list = otherwise
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func data(g msg.Grant) string {
	if g.Data == nil {
		return "none"
	}
	return string(g.Data)
}

// at returns a time, and how far it is.
func at(when time.Time) string {
	text := when.UTC().Format(time.RFC3339)
	if left := time.Until(when).Round(time.Second); left > 0 {
		return text + ", in " + left.String()
	}
	return text + ", " + time.Since(when).Round(time.Second).String() + " ago"
}

// detail says more about a refusal than clients get to know. It is for who has the token and the configuration.
func (t *explained) detail(err error, name string, names []string) string {
	i := t.issuers[name]
	switch {
	case errors.Is(err, token.ErrMalformed):
		return fmt.Sprintf(": it must be three parts of base64url with dots between them, two of them JSON objects, and at most %d bytes", token.MaxSize)
	case errors.Is(err, token.ErrCritical):
		return ": its header has crit"
	case errors.Is(err, token.ErrUnknownIssuer):
		var wanted []string
		for _, name := range names {
			wanted = append(wanted, fmt.Sprintf("%q (%s)", t.issuers[name].Issuer, name))
		}
		return fmt.Sprintf(": iss is %s, and the namespace takes %s", shown(t.claims["iss"]), strings.Join(wanted, ", "))
	case errors.Is(err, token.ErrAlgorithm):
		return fmt.Sprintf(": alg is %s, and %s takes %s", shown(t.header["alg"]), name, patterns(i.Algorithms, nil))
	case errors.Is(err, token.ErrNoKeys):
		return fmt.Sprintf(": the keys of %s could not be fetched within %s", name, keysWithin)
	case errors.Is(err, token.ErrUnknownKey):
		return fmt.Sprintf(": kid is %s, and no key of %s for this algorithm has it", shown(t.header["kid"]), name)
	case errors.Is(err, token.ErrSignature):
		return fmt.Sprintf(": it was not signed with the key of %s, or changed afterwards", name)
	case errors.Is(err, token.ErrClaims):
		return fmt.Sprintf(": it needs aud and sub as texts, iat and exp (and nbf, if there is one) as seconds since 1970; aud is %s, sub %s, iat %s, exp %s, nbf %s",
			shown(t.claims["aud"]), shown(t.claims["sub"]), shown(t.claims["iat"]), shown(t.claims["exp"]), shown(t.claims["nbf"]))
	case errors.Is(err, token.ErrAudience):
		return fmt.Sprintf(": aud is %s, and %s wants %q", shown(t.claims["aud"]), name, i.Audience)
	case errors.Is(err, token.ErrLifetime):
		return fmt.Sprintf(": from iat to exp it is more than max_lifetime of %s, %s", name, i.MaxLifetime)
	case errors.Is(err, token.ErrExpired):
		return fmt.Sprintf(": exp is %s%s; now is %d", shown(t.claims["exp"]), t.expires(i), time.Now().Unix())
	case errors.Is(err, token.ErrNotValidYet):
		return fmt.Sprintf(": iat is %s, nbf %s; now is %d, and leeway of %s %s", shown(t.claims["iat"]), shown(t.claims["nbf"]), time.Now().Unix(), name, i.Leeway)
	case errors.Is(err, token.ErrGrant):
		if _, err := msg.ParseGrant(t.claims[i.Claim]); err != nil {
			return fmt.Sprintf(": the claim %s: %v", i.Claim, err)
		}
		return fmt.Sprintf(": the claim %s has another user than sub", i.Claim)
	}
	return ""
}

// expires adds the end of the grant, if it has one.
func (t *explained) expires(i token.Issuer) string {
	if g, err := msg.ParseGrant(t.claims[i.Claim]); err == nil && g.Expires != 0 {
		return fmt.Sprintf(", expires in the claim %s %d", i.Claim, g.Expires)
	}
	return ""
}

// shown returns a claim as it stands in the token.
func shown(raw json.RawMessage) string {
	if raw == nil {
		return "missing"
	}
	return string(raw)
}
