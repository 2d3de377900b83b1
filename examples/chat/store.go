package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// longest is how many of a room's lines are kept.
const longest = 50

// The buckets in NATS's key-value store. The one of nicknames has a key a name, the other a key a room, whose last
// values are its last lines.
var (
	namesBucket = jetstream.KeyValueConfig{Bucket: "chat_names", LimitMarkerTTL: time.Hour}
	linesBucket = jetstream.KeyValueConfig{Bucket: "chat_lines", History: longest, TTL: 30 * 24 * time.Hour}
)

// store has what all instances share.
type store struct{ names, lines jetstream.KeyValue }

// owner is who has a nickname.
type owner struct {
	Name   string `json:"name"`   // as displayed
	Socket string `json:"socket"` // id
	// a secret of the page: the same person gets the name back with it, even if the old socket still exists
	Key string `json:"key"`
}

// line is one message, in a room unless it is for one person.
type line struct {
	Room string    `json:"room,omitempty"`
	From string    `json:"from"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
	N    uint64    `json:"n,omitempty"` // larger than that of every earlier line of the room
}

// errTaken is returned for a nickname of another person.
var errTaken = errors.New("somebody else has this name")

// justNow is how long a name is taken without a check of its socket, which may still be connecting.
const justNow = 10 * time.Second

// claim assigns a name to a socket. If several instances try at once, one succeeds. A name whose socket is not alive
// any more is free, so the names of an instance or an edge that died need no cleaning up. before is the socket of the
// same person that had the name until now, or "".
func (s store) claim(ctx context.Context, o owner, alive func(socket string) bool) (before string, err error) {
	value, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	key := keyOf(o.Name)
	for {
		_, err := s.names.Create(ctx, key, value)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return "", err
		}
		entry, err := s.names.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // it was released meanwhile
		}
		if err != nil {
			return "", err
		}
		has, err := parseOwner(entry)
		switch {
		case err != nil:
			return "", err
		case has.Socket == o.Socket || o.Key != "" && has.Key == o.Key: // claimed before, or reconnected
		case time.Since(entry.Created()) < justNow || alive(has.Socket):
			return "", errTaken
		}
		_, err = s.names.Update(ctx, key, value, entry.Revision())
		if err == nil && has.Socket != o.Socket {
			before = has.Socket
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // another instance was faster
			return before, err
		}
	}
}

// release frees a name, unless another socket has it now. It reports whether it did.
func (s store) release(ctx context.Context, name, socket string) (bool, error) {
	entry, err := s.names.Get(ctx, keyOf(name))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if has, err := parseOwner(entry); err != nil || has.Socket != socket {
		return false, err
	}
	err = s.names.Purge(ctx, keyOf(name), jetstream.LastRevision(entry.Revision()), jetstream.PurgeTTL(time.Hour))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return false, nil
	}
	return err == nil, err
}

// find returns the owner of a name; ok is false if it is free.
func (s store) find(ctx context.Context, name string) (o owner, ok bool, err error) {
	entry, err := s.names.Get(ctx, keyOf(name))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return owner{}, false, nil
	}
	if err != nil {
		return owner{}, false, err
	}
	o, err = parseOwner(entry)
	return o, err == nil, err
}

func parseOwner(entry jetstream.KeyValueEntry) (o owner, err error) {
	if err := json.Unmarshal(entry.Value(), &o); err != nil {
		return o, fmt.Errorf("the bucket of nicknames has no owner at %s: %w", entry.Key(), err)
	}
	return o, nil
}

// add stores a line and sets its number.
func (s store) add(ctx context.Context, l *line) error {
	value, err := json.Marshal(l)
	if err != nil {
		return err
	}
	l.N, err = s.lines.Put(ctx, keyOf(l.Room), value)
	return err
}

// last returns the lines of a room, the oldest first.
func (s store) last(ctx context.Context, room string) ([]line, error) {
	entries, err := s.lines.History(ctx, keyOf(room))
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, err
	}
	lines := make([]line, 0, len(entries))
	for _, entry := range entries {
		var l line
		if err := json.Unmarshal(entry.Value(), &l); err != nil {
			return nil, fmt.Errorf("the bucket of lines has none at %s: %w", entry.Key(), err)
		}
		l.N = entry.Revision()
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return int(a.N) - int(b.N) })
	return lines, nil
}

// keyOf encodes a name of any script as a key of a bucket. Ann and ann are the same name.
func keyOf(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.ToLower(name)))
}
