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

// verify calls then on the bus's worker with what a token grants in a namespace. It never waits.
func verify(c *connection, rules *rule.Rules, raw string, then func(*granted, error)) {
	checked := func(issuer string, g msg.Grant, err error) {
		if err == nil {
			if _, failed := roomsOf(rules, &g); failed != nil {
				err = fmt.Errorf("%w: %w", errTokenGrant, failed)
			}
		}
		c.edge.out.Do(func() { then(&granted{Grant: g, issuer: issuer, subject: g.User}, err) })
	}
	if raw == "" {
		checked("", msg.Grant{}, errNoToken)
	} else {
		c.edge.set.Token.Keys.Verify(rules.Tokens, raw, rules.ConnectTimeout, checked)
	}
}

// showToken verifies the token of a CONNECT, and goes on with it or refuses it. Clients can tell the reasons apart by
// data.code.
func (c *connection) showToken(a arrival) {
	raw, auth := c.edge.set.Token.From.FromAuth(a.Data)
	if a.Data = auth; c.await(&a) {
		c.verifyConnect(a, cmp.Or(raw, c.shown))
	}
}

// verifyConnect verifies the token of a CONNECT that others of its namespace wait for.
func (c *connection) verifyConnect(a arrival, raw string) {
	began := time.Now()
	verify(c, a.rules, raw, func(g *granted, err error) {
		may, is := errors.AsType[temporary](err)
		maybe := is && may.Temporary()
		if maybe && c.isUsed() && time.Since(began) > a.rules.ConnectTimeout/2 { // a session with a live socket goes on
			c.verifyConnect(a, raw)
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
		if err != nil {
			code, _, _ := strings.Cut(err.Error(), ":")
			data := append(msg.AppendString([]byte(`{"code":`), strings.ReplaceAll(code, " ", "_")), '}')
			c.refuse(string(a.Namespace), err.Error(), data, refusedToken)
			connectAgain(c, string(a.Namespace))
			return
		}
		a.shown = g
		c.arrive(a)
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
	if c.countJoining(1) > maxJoining {
		c.countJoining(-1)
		u.answerChange(errTooManyJoins)
		return true
	}
	verify(c, s.Edge.rules, raw, func(next *granted, err error) {
		c.countJoining(-1)
		is := s.Edge.granted.Load()
		switch {
		case err != nil:
		case next.issuer != is.issuer:
			err = errOtherIssuer
		case next.subject != is.subject:
			err = errOtherSubject
		default:
			later.rewinds.exclusive(func() { err = later.grants.replace(s, next, slices.Clone(next.Data)) })
		}
		if err != nil && !errors.Is(err, registry.ErrGone) {
			later.stats.renewalsRefused.Inc()
		}
		later.answerChange(err)
	})
	return true
}
