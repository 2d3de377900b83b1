package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"partyline/gateway/strict"
)

// outcome is the result of one command of a batch: that of the command alone.
type outcome struct {
	Status  int          `json:"status"`
	Result  any          `json:"result,omitzero"`
	Problem *problemJSON `json:"problem,omitzero"`
}

// batch carries out commands one after the other. Those that fail do not stop the others.
func batch(q *request, body []byte) (any, error) {
	var b struct {
		Commands strict.List[jsontext.Value] `json:"commands"`
	}
	if err := decode(body, &b); err != nil {
		return nil, err
	}
	n := len(b.Commands)
	if n == 0 {
		return nil, problemOf(badRequest, "commands: 0 of them; there must be 1 to %d", strict.MostElements)
	}
	if err := q.pay(n-1, 0); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(q.ctx, batchTime)
	defer cancel()
	outcomes := make([]outcome, n)
	for i, command := range b.Commands {
		one := request{API: q.API, holder: q.holder, ctx: ctx, isBatch: true}
		if q.id != "" {
			one.id = fmt.Sprintf("%s %d", q.id, i) // no other request has an id with a space
		}
		kept := q.kept
		switch result, err := one.ofBatch(command); {
		case err != nil:
			q.forget(kept) // answers that came before the error are not sent
			p := asProblem(err)
			q.report(p, q.Name, "batch")
			outcomes[i] = outcome{Status: p.status, Problem: p.body()}
		case result == accepted:
			outcomes[i].Status = http.StatusAccepted
		default:
			outcomes[i] = outcome{Status: http.StatusOK, Result: result}
		}
	}
	return map[string][]outcome{"results": outcomes}, nil
}

// ofBatch carries out one command of a batch.
func (q *request) ofBatch(command jsontext.Value) (any, error) {
	var b struct {
		Verb string `json:"verb"`
	}
	err := json.Unmarshal(command, &b)
	at := slices.Index(verbs, b.Verb)
	switch {
	case q.ctx.Err() != nil:
		return nil, problemOf(noAnswer, "the time for a batch, %s, is over; this command was not carried out", batchTime)
	case len(command) > mostBytes:
		return nil, problemOf(tooLarge, "the command has more than %d bytes", mostBytes)
	case err != nil || at < 0:
		return nil, problemOf(badRequest, "verb %.64q is none; there are %s", b.Verb, strings.Join(verbs, ", "))
	case q.id != "" && b.Verb != "emit":
		return nil, problemOf(badRequest, "a batch with an Idempotency-Key has emits only")
	}
	return q.carryOut(at, command)
}
