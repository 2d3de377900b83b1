// Command tokens makes tokens for Partyline with golang-jwt. See docs/how-to/authenticate.md.
//
//	TOKEN_SECRET_FILE=secret go run . ann         a token for the user ann, signed with HMAC
//	TOKEN_KEY_FILE=private.pem go run . ann       the same, signed with RSA
//	TOKEN_KEY_FILE=private.pem go run . --jwks    the public key, as a key set
package main

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/big"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func claims(user string, grant map[string]any) jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{
		"iss": "https://id.example", "aud": "partyline", "sub": user,
		"iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(), "partyline": grant,
	}
}

func hmacToken(secret []byte, user string, grant map[string]any) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims(user, grant)).SignedString(secret)
}

func rsaToken(key *rsa.PrivateKey, user string, grant map[string]any) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims(user, grant))
	token.Header["kid"] = publicKey(key)["kid"]
	return token.SignedString(key)
}

// publicKey names a key by its content. A new key so has a new name.
func publicKey(key *rsa.PrivateKey) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	n, e := encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
	sum := sha256.Sum256([]byte(n + "." + e))
	return map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": encode(sum[:])[:16], "n": n, "e": e}
}

func main() {
	log.SetFlags(0)
	output, err := run(os.Args[1:])
	if err != nil {
		log.Fatal("tokens: ", err)
	}
	fmt.Println(output)
}

func run(args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("run it with a user, or with --jwks")
	}
	grant := map[string]any{"rooms": []string{"team-7"}, "join": []string{"lobby-*"}}
	file := os.Getenv("TOKEN_KEY_FILE")
	if file == "" {
		secret, err := os.ReadFile(os.Getenv("TOKEN_SECRET_FILE"))
		if err != nil {
			return "", fmt.Errorf("TOKEN_SECRET_FILE: %w", err)
		}
		return hmacToken(bytes.TrimRight(secret, "\r\n"), args[0], grant)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("TOKEN_KEY_FILE: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(pem)
	if err != nil {
		return "", fmt.Errorf("TOKEN_KEY_FILE: %w", err)
	}
	if args[0] != "--jwks" {
		return rsaToken(key, args[0], grant)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{publicKey(key)}})
	return string(set), err
}
