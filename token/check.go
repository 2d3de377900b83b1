package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"partyline/wire/jsontext"
	"partyline/wire/msg"
)

// MaxSize is the size of the largest token, in bytes.
const MaxSize = 16 << 10

// Refusal is why a token is refused: an error whose text is a constant, which clients may see.
type Refusal struct {
	text string
	rank int // the higher, the more of the token was good
}

// Error returns the reason. It begins with "token ".
func (r *Refusal) Error() string { return r.text }

// Temporary reports whether the same token may be accepted later.
func (r *Refusal) Temporary() bool { return r == ErrNoKeys }

// result is the reason as a label of a metric, such as "expired".
func (r *Refusal) result() string {
	return strings.ReplaceAll(strings.TrimPrefix(r.text, "token "), " ", "_")
}

// Why tokens are refused.
var (
	ErrMalformed     = refusal("token malformed")
	ErrCritical      = refusal("token header unsupported") // crit
	ErrUnknownIssuer = refusal("token issuer unknown")
	ErrAlgorithm     = refusal("token algorithm not allowed")
	ErrNoKeys        = refusal("token keys not available")
	ErrUnknownKey    = refusal("token key unknown")
	ErrSignature     = refusal("token signature invalid")
	ErrClaims        = refusal("token claims invalid") // or missing
	ErrAudience      = refusal("token audience wrong")
	ErrLifetime      = refusal("token lifetime too long")
	ErrExpired       = refusal("token expired")
	ErrNotValidYet   = refusal("token not valid yet")
	ErrGrant         = refusal("token grant invalid")
)

// refusals are those above, by rank.
var refusals []*Refusal

const refusalCount = 13

func refusal(text string) *Refusal {
	r := &Refusal{text, len(refusals)}
	refusals = append(refusals, r)
	return r
}

// parsed is a token that was decoded, and not verified. golang-jwt would decode its header and claims into maps, which
// costs as much as an elliptic curve's signature.
type parsed struct {
	claims
	issuer    string
	method    jwt.SigningMethod
	signed    string // what the signature is of
	signature []byte
	kid       string
	problem   *Refusal // nil if its form is good
}

var encoding = base64.RawURLEncoding.Strict()

// verdict is what was found out about a token.
type verdict struct {
	entry *entry // nil: it has no known issuer
	grant msg.Grant
	why   *Refusal // nil: it is accepted
	waits bool     // keys that are fetched now may change it
}

// count counts the verdict, and returns it as Check and Verify do.
func (v verdict) count(k *Keyring) (issuer string, g msg.Grant, err error) {
	counted := &k.foreign
	if v.entry != nil {
		counted, issuer = &v.entry.checked, v.entry.Name
	}
	if v.why == nil {
		counted[0].Inc()
		return issuer, v.grant, nil
	}
	counted[1+v.why.rank].Inc()
	return issuer, msg.Grant{}, v.why
}

// Check verifies a token of one of the named issuers with the keys that are here, and returns the issuer's name and
// the grant. Its User is the claim sub; Expires is the earlier of exp and that of the grant. It never waits.
//
// The error is a *Refusal: of several issuers, that of the one for which most of the token was good.
func (k *Keyring) Check(issuers []string, raw string) (issuer string, g msg.Grant, err error) {
	return k.judge(issuers, nil, raw).count(k)
}

// TryVerify returns what Check does. waits: keys that are not here may change it, and Verify must be called, which
// fetches them.
func (k *Keyring) TryVerify(issuers []string, raw string) (issuer string, g msg.Grant, waits bool, err error) {
	v := k.judge(issuers, nil, raw)
	if v.waits {
		return "", msg.Grant{}, true, v.why
	}
	issuer, g, err = v.count(k)
	return issuer, g, false, err
}

// Verify calls then once with what Check returns: before it returns if it has the keys. If those of the issuer are not
// here yet, or lack the one that the token names, it calls then on another goroutine, once they have been fetched;
// then must not take long. The fetch begins after the call, so that it brings a key that the issuer has published. If
// it does not succeed within a time, the error is ErrNoKeys.
//
// Unknown keys cause at most one fetch in 10 s for each issuer, however many tokens wait. Verify never waits. After
// Close, then is not called.
func (k *Keyring) Verify(issuers []string, raw string, within time.Duration, then func(issuer string, g msg.Grant, err error)) {
	k.verify(issuers, nil, raw, time.Now().Add(within), then)
}

// verify is Verify until a time, after keys of some issuers have been fetched for the token.
func (k *Keyring) verify(issuers, fetched []string, raw string, until time.Time, then func(issuer string, g msg.Grant, err error)) {
	v := k.judge(issuers, fetched, raw)
	if !v.waits {
		then(v.count(k))
		return
	}
	v.entry.wait(raw, time.Until(until), func(isFetched bool) {
		if isFetched {
			k.verify(issuers, append(fetched, v.entry.Name), raw, until, then)
			return
		}
		v.why = ErrNoKeys
		then(v.count(k))
	})
}

// judge is Check. A token waits for no keys of the issuers in fetched.
func (k *Keyring) judge(issuers, fetched []string, raw string) verdict {
	t := parse(raw)
	if t.problem != nil {
		return verdict{why: t.problem}
	}
	best := verdict{why: ErrUnknownIssuer}
	for _, name := range issuers {
		e := (*k.now.Load())[name]
		if e == nil || e.Issuer.Issuer != t.issuer {
			continue
		}
		g, why := e.check(&t)
		if why == nil {
			return verdict{entry: e, grant: g}
		}
		waits := (why == ErrNoKeys || why == ErrUnknownKey) && !slices.Contains(fetched, name)
		if waits && !best.waits || waits == best.waits && why.rank > best.why.rank {
			best = verdict{entry: e, why: why, waits: waits}
		}
	}
	return best
}

// parse decodes a token.
func parse(raw string) (t parsed) {
	if len(raw) > MaxSize || strings.ContainsAny(raw, "\r\n") { // base64 would skip line ends
		return parsed{problem: ErrMalformed}
	}
	var parts [3][]byte // header, claims, signature
	for i, rest := 0, raw; i < len(parts); i++ {
		part, after, more := strings.Cut(rest, ".")
		decoded, err := encoding.DecodeString(part)
		if isLast := i == len(parts)-1; err != nil || more == isLast || !isLast && msg.CheckObject(decoded) != nil {
			return parsed{problem: ErrMalformed}
		}
		parts[i], rest = decoded, after
	}
	var header [3][]byte
	jsontext.Find(header[:], parts[0], "alg", "kid", "crit")
	alg, _ := text(header[0])
	kid, err := text(header[1])
	t = parsed{method: jwt.GetSigningMethod(alg), kid: kid, signed: raw[:strings.LastIndexByte(raw, '.')], signature: parts[2]}
	switch {
	case t.method == nil:
		return parsed{problem: ErrAlgorithm}
	case header[2] != nil:
		return parsed{problem: ErrCritical}
	case err != nil:
		return parsed{problem: ErrMalformed}
	}
	t.object = parts[1]
	jsontext.Find(t.values[:], t.object, claimNames[:]...)
	t.issuer, _ = t.GetIssuer()
	return t
}

// check verifies a token whose claim iss is the issuer's.
func (e *entry) check(t *parsed) (msg.Grant, *Refusal) {
	if why := e.verify(t); why != nil {
		return msg.Grant{}, why
	}
	switch err := e.validator.Validate(&t.claims); {
	case err == nil:
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing) || errors.Is(err, jwt.ErrInvalidType):
		return msg.Grant{}, ErrClaims
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return msg.Grant{}, ErrAudience
	case errors.Is(err, jwt.ErrTokenExpired):
		return msg.Grant{}, ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet) || errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return msg.Grant{}, ErrNotValidYet
	default:
		return msg.Grant{}, ErrClaims
	}
	issued, _ := t.GetIssuedAt() // Validate takes one without
	expires, _ := t.GetExpirationTime()
	user, err := t.GetSubject()
	switch {
	case issued == nil || err != nil || user == "" || !msg.FitsHeader(user):
		return msg.Grant{}, ErrClaims
	case expires.Sub(issued.Time) > e.MaxLifetime:
		return msg.Grant{}, ErrLifetime
	}
	var g msg.Grant
	var object [1][]byte
	if jsontext.Find(object[:], t.object, e.Claim); object[0] != nil {
		if g, err = msg.ParseGrant(object[0]); err != nil || g.User != "" && g.User != user {
			return msg.Grant{}, ErrGrant
		}
	}
	g.User = user
	if at := expires.Unix(); g.Expires == 0 || at < g.Expires {
		g.Expires = at
	}
	if !time.Now().Before(time.Unix(g.Expires, 0).Add(e.Leeway)) {
		return msg.Grant{}, ErrExpired
	}
	return g, nil
}

// verify verifies the signature.
func (e *entry) verify(t *parsed) *Refusal {
	alg := t.method.Alg()
	if !slices.Contains(e.Algorithms, alg) {
		return ErrAlgorithm
	}
	keys := e.keys.Load()
	if keys == nil {
		return ErrNoKeys
	}
	found, named := keys.find(t.kid, alg)
	for _, key := range found {
		if t.method.Verify(t.signed, t.signature, key) == nil {
			return nil
		}
	}
	if isSet := e.JWKSURL != "" || e.JWKSFile != ""; len(found) == 0 || isSet && !named { // a file of one key has no ids
		return ErrUnknownKey
	}
	return ErrSignature
}

// claims are those of a token, as jwt.Claims.
type claims struct {
	object []byte                  // JSON
	values [len(claimNames)][]byte // of the claims in claimNames, nil for none
}

var claimNames = [...]string{"iss", "sub", "aud", "exp", "iat", "nbf"}

func (c *claims) GetIssuer() (string, error)                   { return text(c.values[0]) }
func (c *claims) GetSubject() (string, error)                  { return text(c.values[1]) }
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return seconds(c.values[3]) }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return seconds(c.values[4]) }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return seconds(c.values[5]) }

// GetAudience returns the claim aud, which is a string or an array of strings.
func (c *claims) GetAudience() (list jwt.ClaimStrings, err error) {
	raw := c.values[2]
	if !bytes.HasPrefix(raw, []byte("[")) {
		one, err := text(raw)
		return jwt.ClaimStrings{one}, err
	}
	for items := jsontext.Inside(raw); ; {
		item, more := items.Next()
		if !more {
			return list, nil
		}
		one, err := text(item)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
}

// seconds returns a value that is a number of seconds since 1970, without its fraction; nil if there is none.
func seconds(value []byte) (*jwt.NumericDate, error) {
	if value == nil {
		return nil, nil //nolint:nilnil // as jwt.Claims wants it
	}
	at, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(at >= 0 && at <= lastSecond) {
		return nil, jwt.ErrInvalidType
	}
	return &jwt.NumericDate{Time: time.Unix(int64(at), 0)}, nil
}

// lastSecond is that of the year 9999.
const lastSecond = 253402300799

// text returns a value that is a string; "" if there is none. Half a surrogate pair is an error: two users must not
// become one.
func text(value []byte) (string, error) {
	s, ok := jsontext.Text(value)
	if !ok && value != nil {
		return "", jwt.ErrInvalidType
	}
	return s, nil
}
