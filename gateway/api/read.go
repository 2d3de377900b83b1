package api

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"partyline/backend"
)

// question is what a read asks for.
type question struct {
	ns     *backend.Namespace
	target backend.Target
	to     *to
	limit  int
	query  url.Values
}

// question reads the query of a read.
func (q *request) question(input []byte) (*question, error) {
	if err := q.allow(mayRead); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(string(input))
	if err != nil {
		return nil, problemOf(badRequest, "the query is not as it must be: %v", err)
	}
	for name, values := range query {
		if !slices.Contains([]string{"namespace", "to", "limit", "cursor"}, name) || len(values) > 1 {
			return nil, problemOf(badRequest, "the query has namespace, to, limit and cursor, each once; not %.100q", name)
		}
	}
	u := &question{limit: standardPage, query: query, to: targetOf(query.Get("to"))}
	if u.ns, err = q.namespace(query.Get("namespace")); err != nil {
		return nil, err
	}
	if u.target, err = q.sockets(u.ns, u.to); err != nil {
		return nil, err
	}
	if query.Has("limit") {
		if u.limit, err = strconv.Atoi(query.Get("limit")); err != nil || u.limit < 1 || u.limit > mostOnPage {
			return nil, problemOf(badRequest, "limit must be 1 to %d", mostOnPage)
		}
	}
	return u, nil
}

// targetOf reads a target in a query: all, room:<room>, socket:<id> or user:<user>. It is nil for anything else.
func targetOf(text string) *to {
	kind, name, isNamed := strings.Cut(text, ":")
	switch isAll := true; {
	case text == mayAll:
		return &to{All: &isAll}
	case isNamed && kind == "room":
		return &to{Room: &name}
	case isNamed && kind == maySocket:
		return &to{Socket: &name}
	case isNamed && kind == mayUser:
		return &to{User: &name}
	}
	return nil
}

// page returns the names of the page, of all in order, and the cursor of the next page, nil for none. It is the last name.
func (u *question) page(all []string) (names []string, next *string) {
	from := 0
	if u.query.Has("cursor") {
		at, isThere := slices.BinarySearch(all, u.query.Get("cursor"))
		if from = at; isThere {
			from++
		}
	}
	if names = all[from:]; len(names) > u.limit {
		names = names[:u.limit]
		next = &names[u.limit-1]
	}
	return names, next
}

// socket is one as clients of the API see it: of its handshake, nothing that a client gave in confidence.
type socket struct {
	ID        string         `json:"id"`
	User      string         `json:"user,omitzero"`
	Rooms     []string       `json:"rooms"`
	Data      jsontext.Value `json:"data"`
	Session   string         `json:"session"`
	Transport string         `json:"transport"`
	Address   string         `json:"address"`
	UserAgent string         `json:"user_agent"`
	Secure    bool           `json:"secure"`
	Connected int64          `json:"connected"` // milliseconds since 1970
}

type socketPage struct {
	Sockets []socket `json:"sockets"`
	Next    *string  `json:"next,omitzero"`
}

// sockets is GET /v1/sockets. It fetches the sockets of the page alone. For the ids of all, edges send more than these, so
// they are kept from the first page to the last.
func sockets(q *request, input []byte) (any, error) {
	u, err := q.question(input)
	if err != nil {
		return nil, err
	}
	page, target := socketPage{Sockets: []socket{}}, u.target
	if u.to.Socket == nil {
		all, err := q.lists.of(q, u)
		if err != nil {
			return nil, err
		}
		ids, next := u.page(all)
		if len(ids) == 0 {
			return page, nil
		}
		page.Next, target = next, u.ns.To(ids...)
	}
	found, err := target.Fetch(q.ctx)
	if err != nil && (u.to.Socket != nil || !errors.Is(err, backend.UnknownSocket)) { // the only one has gone meanwhile
		return nil, err
	}
	slices.SortFunc(found, func(a, b backend.Snapshot) int { return strings.Compare(a.ID, b.ID) })
	for _, s := range found {
		h := &s.Handshake
		page.Sockets = append(page.Sockets, socket{
			s.ID, s.User, q.visible(s.Rooms), jsontext.Value(s.Data), h.Session, h.Transport, h.Address, h.Headers["user-agent"],
			h.Secure, h.Issued,
		})
	}
	return page, nil
}

// visible returns the rooms that the key may name.
func (q *request) visible(rooms []string) []string {
	return slices.DeleteFunc(append([]string{}, rooms...), func(room string) bool { return !q.hasRoom(room) })
}

type roomPage struct {
	Rooms []room  `json:"rooms"`
	Next  *string `json:"next,omitzero"`
}

type room struct {
	Room    string `json:"room"`
	Sockets int    `json:"sockets"`
}

// rooms is GET /v1/rooms: those of the target that the key may name.
func rooms(q *request, input []byte) (any, error) {
	u, err := q.question(input)
	if err != nil {
		return nil, err
	}
	counts, err := u.target.Rooms(q.ctx)
	if err != nil {
		return nil, err
	}
	names, next := u.page(q.visible(slices.Sorted(maps.Keys(counts))))
	page := roomPage{Rooms: []room{}, Next: next}
	for _, name := range names {
		page.Rooms = append(page.Rooms, room{name, counts[name]})
	}
	return page, nil
}
