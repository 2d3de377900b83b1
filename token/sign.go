package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"partyline/wire/msg"
)

// Sign returns a token with a grant, which is valid from now on for lifetime, in whole seconds. It is for development,
// and for issuers with an HMAC secret only. The grant needs a user.
func (i Issuer) Sign(g msg.Grant, lifetime time.Duration) (string, error) {
	if i.HMACSecretFile == "" {
		return "", fmt.Errorf("tokens: %s: only its owner can sign tokens: it has no hmac_secret_file", i.Name)
	}
	set, err := i.readFile(i.HMACSecretFile)
	if err != nil {
		return "", fmt.Errorf("tokens: %s: hmac_secret_file: %w", i.Name, err)
	}
	if g.User == "" || lifetime < time.Second || lifetime > i.MaxLifetime {
		return "", errors.New("a token needs a user, and a lifetime from 1s to max_lifetime, which is " + i.MaxLifetime.String())
	}
	now := time.Now().Unix()
	members := jwt.MapClaims{"iss": i.Issuer, "aud": i.Audience, "sub": g.User, "iat": now, "exp": now + int64(lifetime/time.Second)}
	g.User = ""
	members[i.Claim] = json.RawMessage(g.JSON())
	return jwt.NewWithClaims(jwt.GetSigningMethod(i.Algorithms[0]), members).SignedString(set[0].key)
}
