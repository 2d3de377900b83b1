package edge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"partyline/edge/registry"
	"partyline/engine"
	"partyline/rule"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// Errors of tokens, as clients read them.
var (
	errNoToken      = errors.New("token missing")
	errOtherIssuer  = errors.New("token of another issuer")
	errOtherSubject = errors.New("token of another user")
	errTokenGrant   = errors.New("token grant invalid")
)

// temporary is an error that may pass.
type temporary interface {
	error
	Temporary() bool
}

// check verifies a token for a namespace with the keys that are there. waits: others must be fetched first.
func check(c *connection, rules *rule.Rules, raw string) (g *granted, waits bool, err error) {
	if raw == "" {
		return nil, false, errNoToken
	}
	issuer, found, waits, err := c.edge.set.Token.Keys.TryVerify(rules.Tokens, raw)
	g, err = tokenGrant(rules, issuer, found, err)
	return g, waits, err
}

// tokenGrant is what a token gives to a socket of a namespace, unless err says why it gives nothing.
func tokenGrant(rules *rule.Rules, issuer string, g msg.Grant, err error) (*granted, error) {
	if err == nil {
		if _, failed := roomsOf(rules, &g); failed != nil {
			err = fmt.Errorf("%w: %w", errTokenGrant, failed)
		}
	}
	return &granted{Grant: g, issuer: issuer, subject: g.User}, err
}

// verify calls then on the bus's worker with what a token gives once keys have been fetched. It never waits.
func verify(c *connection, rules *rule.Rules, raw string, then func(*granted, error)) {
	c.edge.set.Token.Keys.Verify(rules.Tokens, raw, rules.ConnectTimeout, func(issuer string, found msg.Grant, err error) {
		g, err := tokenGrant(rules, issuer, found, err)
		c.edge.out.Do(func() { then(g, err) })
	})
}

// showToken verifies the token of a CONNECT, and goes on with it or refuses it.
func (c *connection) showToken(a arrival) {
	raw, auth := c.edge.set.Token.From.FromAuth(a.auth)
	a.auth, raw = auth, cmp.Or(raw, c.shown)
	g, waits, err := check(c, a.rules, raw)
	if waits {
		if c.await(&a) {
			waitForKeys(c, a, raw)
		}
		return
	}
	c.tokenChecked(a, g, err)
}

// tokenChecked goes on with a CONNECT whose token was verified, or refuses it. Clients can tell the reasons apart by
// data.code.
func (c *connection) tokenChecked(a arrival, g *granted, err error) {
	if err != nil {
		code, _, _ := strings.Cut(err.Error(), ":")
		data := append(msg.AppendString([]byte(`{"code":`), strings.ReplaceAll(code, " ", "_")), '}')
		c.refuse(string(a.Namespace), err.Error(), data, refusedToken)
		return
	}
	a.shown = g
	c.arrive(a)
}

// waitForKeys goes on with a CONNECT once keys have been fetched. Others of its namespace wait for it.
func waitForKeys(c *connection, a arrival, raw string) {
	began := time.Now()
	verify(c, a.rules, raw, func(g *granted, err error) {
		may, is := errors.AsType[temporary](err)
		maybe := is && may.Temporary()
		if maybe && c.isUsed() && time.Since(began) > a.rules.ConnectTimeout/2 { // a session with a live socket goes on
			waitForKeys(c, a, raw)
			return
		}
		c.idle.Resume(false)
		c.mu.Lock()
		c.arrived(string(a.Namespace))
		c.mu.Unlock()
		if maybe {
			c.edge.stats.givenUp.Inc()
			c.edge.complaints.about(string(a.Namespace), "closing transports of clients whose tokens could not be verified within connect_timeout", err)
			c.session.Close(engine.ForcedServerClose)
			return
		}
		if c.tokenChecked(a, g, err); err != nil {
			connectAgain(c, string(a.Namespace))
		}
	})
}

// renew reports whether the event is a client's new token, and acts on it.
func (u *upward) renew() bool {
	c, s := u.conn, u.socket
	if s.Edge.rules.Connect != rule.ConnectToken || string(u.name) != u.set.Token.Event {
		return false
	}
	raw, later := "", upward{Edge: u.Edge, conn: c, socket: s, packet: sio.Packet{HasID: u.packet.HasID, ID: u.packet.ID}}
	if text, isString := msg.FirstArgument(u.arg[:0], u.packet.Data); isString {
		raw = string(text)
	}
	next, waits, err := check(c, s.Edge.rules, raw)
	switch {
	case !waits:
		later.renewed(next, err)
	case c.countJoining(1) > maxJoining:
		c.countJoining(-1)
		u.answerChange(errTooManyJoins)
	default:
		verify(c, s.Edge.rules, raw, func(next *granted, err error) {
			c.countJoining(-1)
			later.renewed(next, err)
		})
	}
	return true
}

// renewed gives a socket what its new token grants, and answers.
func (u *upward) renewed(next *granted, err error) {
	s, is := u.socket, u.socket.Edge.granted.Load()
	switch {
	case err != nil:
	case next.issuer != is.issuer:
		err = errOtherIssuer
	case next.subject != is.subject:
		err = errOtherSubject
	default:
		u.rewinds.exclusive(func() { err = u.grants.replace(s, next, slices.Clone(next.Data)) })
	}
	if err != nil && !errors.Is(err, registry.ErrGone) {
		u.stats.renewalsRefused.Inc()
	}
	u.answerChange(err)
}
