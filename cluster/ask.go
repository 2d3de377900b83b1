package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"partyline/wire/eio"
	"partyline/wire/msg"
)

// An edge that NATS has left asks others whether they are ready, over the addresses that they announced. The question is a
// GET of the path of clients with headerAsk, at=<milliseconds since 1970>&by=<edge>&nonce=<random>, and the answer carries
// headerAnswer, by=<edge>&ready=<true or false>. Both are signed in headerSignature: hexadecimal HMAC-SHA256 with the
// edges' secret over "ask", a line feed and the question; and over "answer", the question and the answer, with line feeds
// between them.
const (
	headerAsk    = "Partyline-Ask"
	headerAnswer = "Partyline-Answer"
)

const (
	// askTimeout is how long an edge may take to answer, and askAtOnce how many are asked at a time.
	askTimeout = 2 * time.Second
	askAtOnce  = 8
)

// errNoAnswer is logged of what answers in the place of an edge.
var errNoAnswer = errors.New("what answers is no edge that shares the secret")

// serveAsk answers another edge that wants to know whether this one is ready.
func (f *Forwarder) serveAsk(w http.ResponseWriter, r *http.Request) {
	question := r.Header.Get(headerAsk)
	err := f.proof.checkAsk(question, r.Header.Get(headerSignature), time.Now())
	if f.proof == "" && !f.set.Engine.FromTrustedProxy(r) {
		err = errUntrusted
	}
	if err != nil {
		f.stats.refused.Inc()
		f.warn("refused to tell whether this edge is ready", "", err, "from", r.RemoteAddr)
		f.set.Engine.Refuse(w, r, eio.BadRequest)
		return
	}
	ready := f.set.Ready == nil || len(f.set.Ready()) == 0
	answer := url.Values{"by": {f.set.ID}, "ready": {strconv.FormatBool(ready)}}.Encode()
	w.Header().Set(headerAnswer, answer)
	if f.proof != "" {
		w.Header().Set(headerSignature, f.proof.hex("answer\n"+question+"\n"+answer))
	}
	w.WriteHeader(http.StatusNoContent)
}

// AnyReady asks other edges, over the addresses that they announced before, and says whether one of them is ready. It takes
// askTimeout at the most, and less if ctx ends.
func (f *Forwarder) AnyReady(ctx context.Context) bool {
	f.stats.asks.Inc()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var ready atomic.Bool
	var asking sync.WaitGroup
	for _, hostPort := range f.set.Cluster.addresses(askAtOnce) {
		asking.Go(func() {
			yes, err := f.ask(ctx, hostPort)
			switch {
			case yes:
				ready.Store(true)
				cancel() // one is enough
			case err != nil && ctx.Err() == nil:
				f.warn("another edge did not tell whether it is ready", hostPort, err, "at", hostPort)
			}
		})
	}
	asking.Wait()
	return ready.Load()
}

// ask asks one edge whether it is ready.
func (f *Forwarder) ask(ctx context.Context, hostPort string) (ready bool, err error) {
	out, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "http", Host: hostPort, Path: f.set.Path}).String(), nil)
	if err != nil {
		return false, err
	}
	out.Close = true // it is asked seldom, and no connection must be left when the forwarder ends
	question := url.Values{"at": {strconv.FormatInt(time.Now().UnixMilli(), 10)}, "by": {f.set.ID}, "nonce": {rand.Text()}}.Encode()
	out.Header.Set(headerAsk, question)
	if f.proof != "" {
		out.Header.Set(headerSignature, f.proof.hex("ask\n"+question))
	}
	response, err := f.transport.RoundTrip(out)
	if err != nil {
		return false, err
	}
	_ = response.Body.Close() // an edge's has none
	answer := response.Header.Get(headerAnswer)
	if f.proof != "" && !f.proof.vouchesFor("answer\n"+question+"\n"+answer, response.Header.Get(headerSignature)) {
		return false, errNoAnswer
	}
	said, err := url.ParseQuery(answer)
	if err != nil || said.Get("by") == "" || said.Get("by") == f.set.ID { // the last: an address that leads back here
		return false, errNoAnswer
	}
	return said.Get("ready") == "true", nil
}

// checkAsk says what is wrong with a question. Without a secret nothing is: whoever asks must know where it comes from.
func (secret proof) checkAsk(question, signature string, now time.Time) error {
	if secret == "" {
		return nil
	}
	if !secret.vouchesFor("ask\n"+question, signature) {
		return errUnsigned
	}
	said, err := url.ParseQuery(question)
	if err != nil {
		return errMalformed
	}
	at, err := strconv.ParseInt(said.Get("at"), 10, 64)
	if err != nil {
		return errMalformed
	}
	if off := now.Sub(time.UnixMilli(at)).Abs(); off > msg.MaxClockSkew {
		return fmt.Errorf("it was asked %v from now (are the clocks of the edges right?)", off.Round(time.Second))
	}
	return nil
}

// vouchesFor tells whether a signature was made with the secret.
func (secret proof) vouchesFor(text, signature string) bool {
	given, err := hex.DecodeString(signature)
	return err == nil && hmac.Equal(given, secret.mac(text))
}

func (secret proof) hex(text string) string { return hex.EncodeToString(secret.mac(text)) }

func (secret proof) mac(text string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
