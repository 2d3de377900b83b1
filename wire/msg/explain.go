package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Explain adds to the error of a body that is not valid JSON what is wrong with it, for the log: publishers who mend
// one fault and make another see that. It names no part of the body, and the texts are few.
func Explain(body []byte, err error) error {
	if !errors.Is(err, ErrNotJSON) {
		return err
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	var raw json.RawMessage
	var syntax *json.SyntaxError
	switch fault := json.Unmarshal(body, &raw); {
	case len(body) == 0:
		return fmt.Errorf("%w: it is empty", err)
	case body[0] != '[':
		return fmt.Errorf("%w: it does not begin with [", err)
	case !errors.As(fault, &syntax): // it is valid behind the attachments, or too deep
		return err
	case syntax.Offset >= int64(len(body)):
		return fmt.Errorf("%w: it ends too early", err)
	case body[max(syntax.Offset, 1)-1] == '\'':
		return fmt.Errorf("%w: strings must be in double quotes, not in single ones", err)
	}
	return fmt.Errorf("%w: the fault is inside the array, at byte %d", err, syntax.Offset)
}
