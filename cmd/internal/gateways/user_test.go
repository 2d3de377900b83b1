package gateways

import (
	"bytes"
	"strings"
	"testing"

	"partyline/cmd/internal/program"
	"partyline/gateway/adminui"
)

func TestUser(t *testing.T) {
	for _, c := range []struct {
		args           []string
		input          string
		status         int
		stdout, stderr string
	}{
		{[]string{"ann"}, "open sesame\n", program.ExitOK, "ann:$2", ""}, // one hash: with -race it takes seconds
		{[]string{"ann"}, "short\n", program.ExitFailed, "", "gateway user: a password must have 8 to 72 bytes\n"},
		{[]string{"ann"}, "", program.ExitFailed, "", "gateway user: a password must have"},
		{[]string{"a:b"}, "open sesame\n", program.ExitFailed, "", "gateway user: a user's name has"},
		{nil, "", program.ExitConfig, "", "Usage: gateway user NAME"},
		{[]string{"--help"}, "", program.ExitConfig, "", "Usage: gateway user NAME"},
	} {
		var stdout, stderr bytes.Buffer
		status := user(t.Context(), program.Call{Args: c.args, Stdin: strings.NewReader(c.input), Stdout: &stdout, Stderr: &stderr})
		if status != c.status || !strings.HasPrefix(stdout.String(), c.stdout) || !strings.HasPrefix(stderr.String(), c.stderr) {
			t.Errorf("%v: %d, %q, %q", c.args, status, stdout.String(), stderr.String())
		}
		if status == program.ExitOK {
			if users, err := adminui.ReadUsers(stdout.String()); err != nil || users["ann"] == "" {
				t.Errorf("the line is not readable: %v", err)
			}
		}
	}
}
