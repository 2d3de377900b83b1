package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// namesBucket is the bucket of nicknames in NATS's key-value store. A key is a name.
var namesBucket = jetstream.KeyValueConfig{Bucket: "chat_names", LimitMarkerTTL: time.Hour}

// store has the nicknames, which all instances share.
type store struct{ names jetstream.KeyValue }

// owner is who has a nickname.
type owner struct {
	Name   string `json:"name"`   // as displayed
	Socket string `json:"socket"` // id
	// a secret of the page: the same person gets the name back with it, even if the old socket still exists
	Key string `json:"key"`
}

// line is one message, in a room unless it is for one person.
type line struct {
	ID   string    `json:"id,omitempty"` // of lines in rooms: a page recognises one that it has already
	Room string    `json:"room,omitempty"`
	From string    `json:"from"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
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

// keyOf encodes a name of any script as a key of a bucket. Ann and ann are the same name.
func keyOf(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.ToLower(name)))
}
