package official

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// tokenConfig admits by tokens that are good for seconds in the script.
const tokenConfig = `tokens:
  - {name: main, issuer: "https://id.example", audience: partyline, hmac_secret_file: %q, algorithms: [HS256], leeway: 0s}
token: {from: [auth, authorization, "cookie:sid", "query:token"], grace: 300ms}
namespaces:
  "/chat": {connect: token, tokens: [main], user_room: "user:", rooms: ["*"], relay: [{event: message, to: all, self: true}]}
`

// tokenHead is what each token of the script begins with: {"alg":"HS256",…
const tokenHead = "eyJhbGciOiJIUzI1NiI"

// TestTokens has official clients come with tokens, renew them and come back. Afterwards no token is in the edge's
// log, which is that of level debug, or on the pages of its operator.
func TestTokens(t *testing.T) {
	t.Parallel()
	needScripts(t)
	page, err := filepath.Abs("../../docs/how-to/authenticate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"embedded", "edge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := edgetest.HMACKey(t)
			file := filepath.Join(t.TempDir(), "partyline.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, tokenConfig, key.SecretFile()), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"--config=" + file}
			url := ""
			if name == "edge" {
				url = natsdtest.Start(t).ClientURL()
				args = append(args, "--nats.url="+url)
			}
			p := start(t, name, args...)
			if url != "" {
				p.at.NATS = url
			}
			p.run(t, "../node/edges/tokens.test.mjs", "PARTYLINE_SECRET="+string(key.Secret), "PARTYLINE_HOWTO="+page)
			for _, path := range []string{"/", "/metrics", "/readyz", "/edges", "/healthz"} {
				if _, text := p.page(t, path); strings.Contains(text, tokenHead) {
					t.Errorf("the page %s shows a token", path)
				}
			}
			if log := p.log.String(); strings.Contains(log, tokenHead) || !strings.Contains(log, "DEBUG") {
				t.Error("the log shows a token, or has no lines of level debug")
			}
		})
	}
}
