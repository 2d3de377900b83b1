package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"partyline/backend"
)

// kind is a type of problem (RFC 9457).
type kind struct {
	name   string // behind problemPrefix
	status int
	title  string
}

const problemPrefix = "urn:partyline:problem:"

// The kinds of problems, as openapi.json has them.
var (
	badRequest    = kind{"bad-request", http.StatusBadRequest, "The request is not as it must be"}
	badKey        = kind{"bad-key", http.StatusUnauthorized, "The key is missing or unknown"}
	notAllowed    = kind{"not-allowed", http.StatusForbidden, "The key does not allow this"}
	unknownSocket = kind{"unknown-socket", http.StatusNotFound, "There is no such socket"}
	noOperation   = kind{"no-operation", http.StatusNotFound, "There is no such operation"}
	badMethod     = kind{"bad-method", http.StatusMethodNotAllowed, "The operation has another method"}
	tooSlow       = kind{"too-slow", http.StatusRequestTimeout, "The body did not come in time"}
	refused       = kind{"refused", http.StatusConflict, "An edge, or the log of events, refused it"}
	tooLarge      = kind{"too-large", http.StatusRequestEntityTooLarge, "The body or the message is too large"}
	notJSON       = kind{"not-json", http.StatusUnsupportedMediaType, "The body must be application/json"}
	tooFast       = kind{"too-fast", http.StatusTooManyRequests, "The key sends more than it may"}
	internal      = kind{"internal", http.StatusInternalServerError, "Something is wrong with the gateway"}
	offline       = kind{"offline", http.StatusServiceUnavailable, "NATS is away; nothing was sent"}
	busy          = kind{"busy", http.StatusServiceUnavailable, "Too much is under way"}
	noAnswer      = kind{"no-answer", http.StatusGatewayTimeout, "Not all answers came in time"}

	kinds = []kind{badRequest, badKey, notAllowed, unknownSocket, noOperation, badMethod, tooSlow, refused, tooLarge, notJSON, tooFast, internal, offline, busy, noAnswer}
)

// problem is an error that a client gets.
type problem struct {
	kind
	detail string
	after  time.Duration // for Retry-After; 0 for none
}

// Error returns the text for people.
func (p *problem) Error() string { return p.detail }

func problemOf(k kind, format string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(format, args...)}
}

// problemJSON is the body of a problem.
type problemJSON struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *problem) body() *problemJSON {
	return &problemJSON{problemPrefix + p.name, p.title, p.status, p.detail}
}

// codes are the kinds of problems of the errors of package backend.
var codes = map[backend.Code]kind{
	backend.UnknownSocket: unknownSocket, backend.NoAnswer: noAnswer, backend.TooLarge: tooLarge, backend.BadArguments: badRequest,
	backend.Closed: offline, backend.Offline: offline, backend.TooMany: busy, backend.Refused: refused,
}

// asProblem returns the problem that an error is for the client.
func asProblem(err error) *problem {
	var p *problem
	var large *http.MaxBytesError
	var failed *backend.Error
	var silent *backend.SilentEdges
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return problemOf(tooLarge, "the body has more than %d bytes", large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemOf(tooSlow, "the body did not come within %s", bodyTime)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problemOf(badRequest, "the body ended before its end")
	case errors.As(err, &silent):
		return problemOf(noAnswer, "%d edges did not answer; at the others it is done: %v", len(silent.Edges), silent.Edges)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problemOf(noAnswer, "the time is over")
	case errors.As(err, &failed):
		if kind, ok := codes[failed.Code]; ok {
			return problemOf(kind, "%s", failed.Text)
		}
	}
	return problemOf(internal, "%v", err)
}

// report counts a problem, and logs what an operator can do something about.
func (a *API) report(p *problem, key, operation string) {
	for i, k := range kinds {
		if k == p.kind {
			a.problems[i].Inc()
		}
	}
	if p.status >= http.StatusInternalServerError || p.kind == badKey || p.kind == notAllowed {
		a.complaints.Warn("a command of the HTTP API failed", operation+" by key "+key, p)
	}
}

// writeProblem answers a request with a problem.
func writeProblem(w http.ResponseWriter, p *problem) {
	h := w.Header()
	switch p.kind {
	case offline, busy, tooFast:
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(p.after.Seconds())))))
	case badKey:
		h.Set("WWW-Authenticate", "Bearer")
	case tooSlow, tooLarge:
		h.Set("Connection", "close") // the rest of the body is not read
	}
	h.Set("Content-Type", "application/problem+json")
	write(w, p.status, p.body())
}
