package gateways

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"partyline/cmd/internal/program"
	"partyline/gateway/adminui"
)

// user is the command user. It prints the line of ui.users_file for a name, and a password from the terminal or the first line
// of the input.
func user(_ context.Context, c program.Call) int {
	if len(c.Args) != 1 || strings.HasPrefix(c.Args[0], "-") {
		fmt.Fprintln(c.Stderr, "Usage: gateway user NAME >>FILE\n\nAsks for a password, and prints the line of ui.users_file for it.")
		return program.ExitConfig
	}
	password, err := readPassword(c)
	if err == nil {
		var line string
		if line, err = adminui.UserLine(c.Args[0], password); err == nil {
			_, err = fmt.Fprintln(c.Stdout, line)
		}
	}
	if err != nil {
		fmt.Fprintf(c.Stderr, "gateway user: %v\n", err)
		return program.ExitFailed
	}
	return program.ExitOK
}

func readPassword(c program.Call) (string, error) {
	if file, isFile := c.Stdin.(*os.File); isFile && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(c.Stderr, "Password: ")
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(c.Stderr)
		return string(text), err
	}
	lines := bufio.NewScanner(c.Stdin)
	lines.Scan()
	return lines.Text(), lines.Err()
}
