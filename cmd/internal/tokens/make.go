package tokens

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"partyline/token"
	"partyline/wire/msg"
)

// make prints a token.
func (c *command) make() int {
	issuer, status, err := c.signer()
	if err != nil {
		return c.fail(status, err)
	}
	if c.data != "" {
		c.grant.Data = json.RawMessage(c.data)
	}
	if c.data != "" && !json.Valid(c.grant.Data) {
		return c.fail(exitUsage, errors.New("--data is not JSON"))
	}
	if _, err := msg.ParseGrant(c.grant.JSON()); err != nil {
		return c.fail(exitUsage, fmt.Errorf("these flags make no grant: %w", err))
	}
	raw, err := issuer.Sign(c.grant, cmp.Or(c.life, min(time.Hour, issuer.MaxLifetime)))
	if err != nil {
		return c.fail(exitFailed, err)
	}
	if c.secret != "" {
		fmt.Fprintf(c.stderr, example, issuer.Name, issuer.Issuer, issuer.Audience, issuer.HMACSecretFile)
	}
	fmt.Fprintln(c.stdout, raw)
	return exitOK
}

// example is the configuration that accepts tokens of --secret.
const example = `# Accepts the tokens of this secret. Who reads the file can make them: for development only.
tokens:
  - {name: %s, issuer: %s, audience: %s, hmac_secret_file: %q, algorithms: [HS256], max_lifetime: 24h}
namespaces:
  "*": {connect: token, tokens: [%[1]s], user_room: "user:", rooms: ["*"], relay: [{event: message, to: rooms_or_all}]}
`

// signer returns the issuer that signs: of --secret, or of the configuration.
func (c *command) signer() (i token.Issuer, status int, err error) {
	if c.secret != "" {
		i = token.Default()
		i.Name, i.Issuer, i.Audience, i.Algorithms, i.MaxLifetime = "dev", "partyline-dev", "partyline-dev", []string{"HS256"}, 24*time.Hour
		if i.HMACSecretFile, err = filepath.Abs(c.secret); err == nil {
			err = c.makeSecret(i.HMACSecretFile)
		}
		return i, exitFailed, err
	}
	loaded, err := c.load()
	if err != nil {
		return i, exitUsage, err
	}
	n := 0
	for _, each := range loaded.Tokens {
		if each.HMACSecretFile != "" && (c.issuer == "" || c.issuer == each.Name) {
			i = each
			n++
		}
	}
	switch {
	case n == 1:
		return i, exitOK, nil
	case n > 1:
		err = errors.New("several issuers in the configuration have an hmac_secret_file; name one with --issuer")
	case c.issuer != "":
		err = errors.New("no issuer of that name in the configuration has an hmac_secret_file")
	default:
		err = errors.New("no issuer in the configuration has an hmac_secret_file; begin with --secret FILE, which makes one")
	}
	return i, exitUsage, err
}

// makeSecret writes a random secret into a file, unless there is one.
func (c *command) makeSecret(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the secret cannot be written: %w", err)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	_, err = fmt.Fprintln(file, hex.EncodeToString(random))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("the secret cannot be written: %w", err)
	}
	fmt.Fprintf(c.stderr, "# %s is new: a random secret.\n", path)
	return nil
}
