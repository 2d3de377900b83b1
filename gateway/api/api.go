// Package api is the HTTP API of the gateway: with one POST, any language emits to Socket.IO clients, asks them, moves
// them between rooms, or ends them (docs/http-api.md). It speaks to edges over a service of package backend, and keeps
// nothing but ids of sockets for the next pages of a list.
//
// A request goes through the same steps: the key, its rate, the body as strict JSON, what the key allows, the verb.
// What fails on the way is a problem (RFC 9457), is counted, and is logged if an operator can do something about it.
package api

import (
	"bytes"
	"context"
	_ "embed" // openapi.json
	"encoding/json"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"partyline/backend"
	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// Bounds of requests.
const (
	mostBytes      = 1 << 20   // of a body
	mostBatchBytes = 16 << 20  // of the body of a batch
	mostOnPage     = 1000      // sockets or rooms
	standardPage   = 100       // without limit
	mostIDBytes    = 255       // of an Idempotency-Key
	mostUnderWay   = 1000      // requests of one key: all share MostQuestions
	mostBodies     = 256 << 20 // bytes of bodies of all requests under way
	mostAnswers    = 256 << 20 // bytes of answers to all requests under way, until they are sent
	mostOfKey      = 128 << 20 // of the bodies, and of the answers, bytes of one key
	mostOfRequest  = 64 << 20  // of the answers, bytes of the answers to one request, which may be a batch
	bodyTime       = 10 * time.Second
	batchTime      = time.Minute // to carry out a batch
)

// MostQuestions is how many requests of all keys together wait for clients, edges and the log of events at once. More get
// the problem busy.
const MostQuestions = 4096

// Document is the OpenAPI 3.1 document that /openapi.json serves.
//
//go:embed openapi.json
var Document []byte

// Options of an API.
type Options struct {
	Keys              []Key
	RequestsPerSecond float64     // of one key, and commands of batches; 0: as many as come
	UserRoom          string      // what the rooms of users begin with: user_room of the edges' configuration; "": there are none
	IsStarted         func() bool // whether the service has started, and is not closed; nil: it is
	Log               *slog.Logger
}

// API answers requests of the HTTP API. New makes it. It is an http.Handler, and safe for concurrent use. The server
// must give a request two minutes to be answered.
type API struct {
	io         *backend.Service
	o          Options
	now        atomic.Pointer[access]
	operations []operation
	complaints *throttle.Logger
	bodies     atomic.Int64 // bytes of those under way
	answers    atomic.Int64 // the same
	questions  atomic.Int64 // requests that count against MostQuestions
	lists      lists
	commands   []tally.Counter // by operation
	problems   []tally.Counter // by kind
}

// access is who may do what. It is static: another takes its place.
type access struct {
	holders           []*holder
	requestsPerSecond float64
}

// operation is one of the API. Of one with GET, the input is the query, else the body.
type operation struct {
	name, method string
	run          func(q *request, input []byte) (any, error)
}

// verbs are the operations that a key must have. They, and they alone, can be commands of a batch.
var verbs = []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data"}

// New returns the API of a service. Without Options.IsStarted it must be started before requests come. The error is
// about a key of the options.
func New(io *backend.Service, o Options) (*API, error) {
	a := &API{io: io, o: o, complaints: throttle.New(o.Log), lists: lists{kept: make(map[listed][]string)}, problems: make([]tally.Counter, len(kinds))}
	runs := []func(*request, []byte) (any, error){emit, broadcast, ask, join, leave, disconnect, grant, setData}
	for i, verb := range verbs {
		a.operations = append(a.operations, operation{verb, http.MethodPost, runs[i]})
	}
	a.operations = append(a.operations, operation{"batch", http.MethodPost, batch},
		operation{"sockets", http.MethodGet, sockets}, operation{"rooms", http.MethodGet, rooms})
	a.commands = make([]tally.Counter, len(a.operations))
	a.now.Store(&access{})
	use, err := a.Prepare(o.Keys, o.RequestsPerSecond)
	if err != nil {
		return nil, err
	}
	use()
	return a, nil
}

// Prepare returns what puts keys, and their rate, in the place of those that there are, or an error about a key. A key
// that stays goes on where it is with its rate; requests under way end as they began.
func (a *API) Prepare(keys []Key, requestsPerSecond float64) (use func(), err error) {
	before, next := a.now.Load(), &access{requestsPerSecond: requestsPerSecond}
	for _, k := range keys {
		h, err := newHolder(k)
		if err != nil {
			return nil, err
		}
		if at := slices.IndexFunc(before.holders, func(h *holder) bool { return reflect.DeepEqual(h.Key, k) }); at >= 0 {
			h = before.holders[at]
		}
		next.holders = append(next.holders, h)
	}
	return func() { a.now.Store(next) }, nil
}

// Metrics returns the metrics.
func (a *API) Metrics() *tally.Set {
	set := &tally.Set{}
	for i, op := range a.operations {
		set.LabelledCounter(&a.commands[i], "api_commands_total", "Commands and reads of the HTTP API, those of batches included.", "operation", op.name)
	}
	for i, k := range kinds {
		set.LabelledCounter(&a.problems[i], "api_problems_total", "Commands and reads of the HTTP API that failed, by type of problem.", "type", k.name)
	}
	a.complaints.Metrics(set, "api")
	return set
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(a.now.Load().holders) == 0 {
		http.NotFound(w, r) // there is no API
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	q := &request{API: a, holder: &holder{Key: Key{Name: "?"}}}
	defer q.release() // once the answer is sent, which a client may make slow
	result, err := q.answer(w, r)
	if err != nil {
		p := asProblem(err)
		a.report(p, q.Name, r.URL.Path)
		writeProblem(w, p)
		return
	}
	h.Set("Content-Type", "application/json")
	if result == accepted {
		write(w, http.StatusAccepted, result)
	} else {
		write(w, http.StatusOK, result)
	}
}

// write answers with a value of this package as JSON, or with text.
func write(w http.ResponseWriter, status int, value any) {
	text, isText := value.([]byte)
	if !isText {
		var out bytes.Buffer
		e := json.NewEncoder(&out) // version 1: what clients ack may have a member twice, and half a surrogate pair
		e.SetEscapeHTML(false)
		_ = e.Encode(value)
		text = bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	}
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// request is one command, alone or in a batch, or one read.
type request struct {
	*API
	*holder
	ctx     context.Context
	id      string // the Idempotency-Key; "" for none
	isBatch bool   // it is a command of a batch
	kept    int64  // bytes of answers that count
}

// keep counts an answer of an edge or a client, which is kept until the request is answered.
func (q *request) keep(bytes int) error {
	n := int64(bytes)
	q.kept += n
	ofKey, all := q.holder.answers.Add(n), q.API.answers.Add(n)
	switch {
	case q.kept > mostOfRequest:
		return problemOf(busy, "the answers to this request have more than %d bytes", mostOfRequest)
	case ofKey > mostOfKey:
		return problemOf(busy, "the answers under way of this key have %d bytes", mostOfKey)
	case all > mostAnswers:
		return problemOf(busy, "the answers under way have %d bytes", mostAnswers)
	}
	return nil
}

// forget takes the answers off what counts, but for the first ones.
func (q *request) forget(kept int64) {
	q.holder.answers.Add(kept - q.kept)
	q.API.answers.Add(kept - q.kept)
	q.kept = kept
}

// release ends what counts of a request.
func (q *request) release() {
	q.forget(0)
	q.underWay.Add(-1)
}

// answer carries out a request.
func (q *request) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	if r.URL.Path == "/openapi.json" {
		return Document, allowMethod(w, r, http.MethodGet)
	}
	name, isOurs := strings.CutPrefix(r.URL.Path, "/v1/")
	at := slices.IndexFunc(q.operations, func(op operation) bool { return op.name == name })
	if !isOurs || at < 0 {
		return nil, problemOf(noOperation, "there is no %.100q; /openapi.json has all operations", r.URL.Path)
	}
	op := &q.operations[at]
	if err := allowMethod(w, r, op.method); err != nil {
		return nil, err
	}
	h := q.holderOf(r.Header.Get("Authorization"))
	if h == nil {
		return nil, problemOf(badKey, "send a key of this gateway: Authorization: Bearer <key>")
	}
	q.holder = h
	underWay := h.underWay.Add(1)
	if q.o.IsStarted != nil && !q.o.IsStarted() { // a service would handle the namespaces that it is asked for before
		return nil, problemOf(offline, "the gateway has not started yet, or stops")
	}
	if underWay > mostUnderWay {
		return nil, problemOf(tooFast, "%d requests of this key are under way", mostUnderWay)
	}
	var err error
	if q.id, err = idempotencyKey(r, name); err != nil {
		return nil, err
	}
	if err := q.pay(1, 1); err != nil {
		return nil, err
	}
	q.ctx = backend.CountAnswers(r.Context(), q.keep)
	most := mostBytes
	if name == "batch" { // pays for its other commands when they are read
		most = mostBatchBytes
	}
	input := []byte(r.URL.RawQuery)
	if op.method == http.MethodPost {
		b := body{of: q, most: most}
		defer b.release()
		if err := b.read(w, r); err != nil {
			return nil, err
		}
		input = b.text
	}
	return q.carryOut(at, input)
}

// carryOut carries out an operation that is paid for, if the key has it.
func (q *request) carryOut(at int, input []byte) (any, error) {
	op := &q.operations[at]
	q.commands[at].Inc()
	if at < len(verbs) && !slices.Contains(q.Verbs, op.name) {
		return nil, problemOf(notAllowed, "this key has no verb %s", op.name)
	}
	if q.asks(op.name) {
		defer q.questions.Add(-1)
		if q.questions.Add(1) > MostQuestions {
			return nil, problemOf(busy, "%d requests wait for clients, edges or the log of events", MostQuestions)
		}
	}
	return op.run(q, input)
}

// asks reports whether an operation waits for clients, edges or the log. A batch does not; its commands do.
func (q *request) asks(operation string) bool {
	return operation != "batch" && (q.id != "" || operation != "emit" && operation != "broadcast")
}

// pay counts commands; see take. It returns a problem if the key has sent too many before.
func (q *request) pay(commands, least int) error {
	rate := q.now.Load().requestsPerSecond
	if rate == 0 {
		return nil
	}
	if wait := q.take(commands, least, rate, time.Now()); wait > 0 {
		p := problemOf(tooFast, "this key may send %g commands a second", rate)
		p.after = wait
		return p
	}
	return nil
}

func allowMethod(w http.ResponseWriter, r *http.Request, method string) error {
	if r.Method == method {
		return nil
	}
	w.Header().Set("Allow", method)
	return problemOf(badMethod, "%s takes %s", r.URL.Path, method)
}

// idempotencyKey returns the Idempotency-Key of a request, or "".
func idempotencyKey(r *http.Request, operation string) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	id := values[0]
	isOdd := func(c rune) bool { return c <= ' ' || c > '~' }
	switch {
	case operation != "emit" && operation != "batch":
		return "", problemOf(badRequest, "Idempotency-Key counts for emit, and for a batch of emits; leave it out")
	case len(values) > 1 || id == "" || len(id) > mostIDBytes || strings.ContainsFunc(id, isOdd):
		return "", problemOf(badRequest, "Idempotency-Key must be 1 to %d visible characters of ASCII, once", mostIDBytes)
	}
	return id, nil
}
