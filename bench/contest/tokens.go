package contest

import (
	"fmt"
	"os"
	"path/filepath"

	"partyline/bench/verify"
)

// Tokens are made once for all rounds. Several clients use each one.
const (
	tokenCount   = 1000
	verifyRounds = 20 // how often each is verified in a measurement
)

// makeTokens makes the tokens, and the configuration of the edges that admit by them.
func (p *Programs) makeTokens() (err error) {
	if p.tokens, err = verify.New(tokenCount); err != nil {
		return err
	}
	key := filepath.Join(p.bin, "tokens.pem")
	p.tokenConfig = filepath.Join(p.bin, "tokens.yaml")
	if err := os.WriteFile(key, []byte(p.tokens.Public), 0o644); err != nil {
		return err
	}
	return os.WriteFile(p.tokenConfig, []byte(verify.Config(key)), 0o644)
}

// auths are what clients send with CONNECT.
func (p *Programs) auths() (all []string) {
	for _, token := range p.tokens.All {
		all = append(all, fmt.Sprintf(`{"token":%q}`, token))
	}
	return all
}

// verify is a round of Verify.
func (p *Programs) verify(s Scenario, round int) ([]Measurement, error) {
	us, err := p.tokens.Measure(p.self, verifyRounds)
	if err != nil {
		return nil, err
	}
	return []Measurement{{Scenario: s.Name, Phase: "idle", Server: Verify, Round: round, Figures: map[string]float64{ConnectCPU: us}}}, nil
}
