package edge

import (
	"sort"
	"strings"
)

// ruleBook finds the rules of a namespace. It is static.
type ruleBook struct {
	exact    map[string]*Namespace
	patterns []patternRules // the longest first
}

type patternRules struct {
	pattern string
	rules   *Namespace
}

func newRuleBook(namespaces map[string]Namespace) ruleBook {
	b := ruleBook{exact: make(map[string]*Namespace)}
	for name, rules := range namespaces {
		if rules.ConnectTimeout == 0 {
			rules.ConnectTimeout = DefaultConnectTimeout
		}
		if strings.Contains(name, "*") {
			b.patterns = append(b.patterns, patternRules{name, &rules})
		} else {
			b.exact[name] = &rules
		}
	}
	sort.Slice(b.patterns, func(i, j int) bool {
		p, q := b.patterns[i].pattern, b.patterns[j].pattern
		return len(p) > len(q) || len(p) == len(q) && p < q
	})
	return b
}

// find is the rules for a namespace, nil when it is not declared.
func (b *ruleBook) find(name string) *Namespace {
	if rules := b.exact[name]; rules != nil {
		return rules
	}
	for _, p := range b.patterns {
		if matches(p.pattern, name) {
			return p.rules
		}
	}
	return nil
}

// relay is the rule for an event, nil when there is none.
func (n *Namespace) relay(event []byte) *Relay {
	for i := range n.Relay {
		if matches(n.Relay[i].Event, event) {
			return &n.Relay[i]
		}
	}
	return nil
}

// mayEnter says whether clients may join and leave a room by themselves.
func (n *Namespace) mayEnter(room []byte) bool {
	for _, pattern := range n.Rooms {
		if matches(pattern, room) {
			return true
		}
	}
	return false
}

// matches says whether a name fits a pattern: * is any run of characters, nothing else is special. Its time is linear in
// practice and at worst the product of the lengths: each star is only ever moved forward.
func matches[T ~string | ~[]byte](pattern string, name T) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
