package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/subjects"
)

// Key is what the holder of one key may do.
type Key struct {
	Name       string   // for the log and metrics; never the key itself
	Hash       string   // "sha256:" and 64 hexadecimal digits; see HashKey
	Namespaces []string // names, or patterns in which * is any run of characters
	Verbs      []string // emit, broadcast, ask, join, leave, disconnect, grant and data
	Rooms      []string // names or patterns of the rooms that it may name; they match no room of a user
	May        []string // all, socket and user: targets that are no rooms; read: /v1/sockets and /v1/rooms; session: whole connections
}

// The permissions of a key beside verbs and rooms.
const (
	mayAll     = "all"
	maySocket  = "socket"
	mayUser    = "user"
	mayRead    = "read"
	maySession = "session"
)

const (
	keyBytes   = 32
	keyPrefix  = "partyline_" // secret scanners find keys by it
	hashPrefix = "sha256:"
)

// NewKey makes a key of 32 random bytes, as text for the Authorization header.
func NewKey() string {
	var random [keyBytes]byte
	_, _ = rand.Read(random[:]) // it never fails
	return keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
}

// HashKey returns the hash of a key as it stands in the configuration: "sha256:" and 64 hexadecimal digits. The key
// cannot be found from it.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// holder is a key with what was counted of it.
type holder struct {
	Key
	sum      [sha256.Size]byte
	underWay atomic.Int64 // its requests
	bodies   atomic.Int64 // bytes of their bodies
	answers  atomic.Int64 // bytes of the answers to them

	mu     sync.Mutex
	tokens float64   // guarded by mu; below 0 after a batch
	at     time.Time // guarded by mu: when tokens was computed
}

// newHolder reads the hash of a key. The configuration has checked its other members.
func newHolder(k Key) (*holder, error) {
	h := &holder{Key: k}
	text, ok := strings.CutPrefix(k.Hash, hashPrefix)
	sum, err := hex.DecodeString(text)
	if !ok || err != nil || len(sum) != len(h.sum) {
		return nil, fmt.Errorf("api: key %q: the hash must be sha256: and 64 hexadecimal digits, as `gateway key` prints it", k.Name)
	}
	copy(h.sum[:], sum)
	return h, nil
}

// holderOf returns whose key a request has, or nil. It compares with all keys in constant time.
func (a *API) holderOf(authorization string) (found *holder) {
	scheme, key, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	sum := sha256.Sum256([]byte(key))
	for _, h := range a.now.Load().holders {
		if subtle.ConstantTimeCompare(sum[:], h.sum[:]) == 1 {
			found = h
		}
	}
	return found
}

// take counts n commands against the rate, in commands a second. It returns how long to wait if fewer than least are free.
// One command needs one. The others of a batch need none: what follows waits for them, also another batch.
func (h *holder) take(n, least int, rate float64, now time.Time) (wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	burst := max(1, rate)
	h.tokens = min(burst, h.tokens+now.Sub(h.at).Seconds()*rate)
	h.at = now
	if missing := float64(least) - h.tokens; missing > 0 {
		return time.Duration(missing / rate * float64(time.Second))
	}
	h.tokens -= float64(n)
	return 0
}

// allow returns a problem unless the key has a permission.
func (h *holder) allow(permission string) error {
	if !slices.Contains(h.May, permission) {
		return problemOf(notAllowed, "this key may not %q: add it to may", permission)
	}
	return nil
}

// hasRoom reports whether the key may name a room, or all rooms that a pattern matches: what stands for the star of a
// pattern matches a star of the key's.
func (q *request) hasRoom(room string) bool {
	if q.o.UserRoom != "" && strings.HasPrefix(room, q.o.UserRoom) {
		return slices.Contains(q.May, mayUser)
	}
	return matches(q.Rooms, room)
}

// allowRooms returns a problem unless the key may name all of some rooms.
func (q *request) allowRooms(member string, rooms []string) error {
	for _, room := range rooms {
		switch {
		case subjects.IsSocketID(room):
			return problemOf(badRequest, "%s: a room cannot have the form of a socket's id: %s", member, room)
		case !q.hasRoom(room):
			return problemOf(notAllowed, "%s: this key has no room %.100q", member, room)
		}
	}
	return nil
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return subjects.Matches(pattern, name) })
}
