package subjects

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultReplies is where NATS clients expect answers unless they are told otherwise.
const DefaultReplies = "_INBOX.>"

var errReplies = errors.New("bad reply prefix")

// Replies are the reply subjects to which an edge may answer. NATS does not check that who names a reply subject may
// publish there: the edge would publish in its own name. NewReplies makes it; the zero Replies allows no subject. It
// is read-only.
type Replies struct {
	own    Prefix
	dotted []string // each ends with a dot
}

// NewReplies checks prefixes of reply subjects, each in the form that NormalReplies returns or accepts. own is the
// prefix of the edge's own subjects, below which it never answers.
func NewReplies(own Prefix, prefixes []string) (Replies, error) {
	r := Replies{own: own}
	for _, prefix := range prefixes {
		normal, err := NormalReplies(prefix)
		if err != nil {
			return Replies{}, err
		}
		dotted := strings.TrimSuffix(normal, ">")
		if strings.HasPrefix(dotted, own.dotted) || strings.HasPrefix(own.dotted, dotted) {
			return Replies{}, fmt.Errorf("%w %.160q: it overlaps the prefix of all subjects, %q", errReplies, prefix, own)
		}
		r.dotted = append(r.dotted, dotted)
	}
	return r, nil
}

// NormalReplies returns a prefix of reply subjects with the wildcard that NATS permissions have: "_INBOX.>" for both
// "_INBOX" and "_INBOX.>". The rules are those of NewPrefix, but inboxes are allowed.
func NormalReplies(prefix string) (string, error) {
	tokens := strings.TrimSuffix(prefix, ".>")
	if fault := badTokens(tokens); fault != "" {
		return prefix, fmt.Errorf("%w %.160q: %s", errReplies, prefix, fault)
	}
	return tokens + ".>", nil
}

// Allow reports whether an edge may answer to a reply subject.
func (r *Replies) Allow(reply string) bool {
	if r.own.Covers(reply) {
		return false
	}
	for _, dotted := range r.dotted {
		if len(reply) > len(dotted) && strings.HasPrefix(reply, dotted) {
			return true
		}
	}
	return false
}
