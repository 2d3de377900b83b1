package adminui

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"

	"partyline/backend"
	"partyline/internal/address"
)

// Users are the bcrypt hashes of passwords, by the users' names.
type Users map[string]string

// minPassword is the least length of a password, in bytes; maxPassword is what bcrypt takes.
const minPassword, maxPassword = 8, 72

// UserLine returns the line of a user's file for a name and a password, which has 8 to 72 bytes.
func UserLine(name, password string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if n := len(password); n < minPassword || n > maxPassword {
		return "", fmt.Errorf("a password must have %d to %d bytes", minPassword, maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost+2)
	if err != nil {
		return "", fmt.Errorf("a password cannot be hashed: %w", err)
	}
	return name + ":" + string(hash), nil
}

func checkName(name string) error {
	if name == "" || len(name) > 64 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7F || r == ':' }) {
		return errors.New("a user's name has 1 to 64 bytes, no colon, no control characters, and no spaces around it")
	}
	return nil
}

// ReadUsers reads the text of a user's file: lines of the form name:hash, with a bcrypt hash. Empty lines and those that
// begin with # are skipped. The error names the first line that is wrong.
func ReadUsers(text string) (Users, error) {
	users, number := make(Users), 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		_, bad := bcrypt.Cost([]byte(hash))
		switch {
		case checkName(name) != nil:
			return nil, fmt.Errorf("line %d: %w", number, checkName(name))
		case bad != nil:
			return nil, fmt.Errorf("line %d: behind %q must stand a colon and a bcrypt hash (make the line with `gateway user NAME`)", number, name)
		case users[name] != "":
			return nil, fmt.Errorf("line %d: user %q is there twice", number, name)
		}
		users[name] = hash
	}
	return users, nil
}

// What came of the connect of a page.
const (
	byPassword = iota
	bySession
	byLoopback
	refusedCredentials
	refusedRate
	loginResults
)

var loginWords = [loginResults]string{"password", "session", "loopback", "invalid credentials", "too many logins"}

const (
	sessionLasts    = 12 * time.Hour
	loginsPerMinute = 5      // of one address, as many of them at once
	maxAddresses    = 10_000 // that are remembered; more may not log in for a minute
	maxHashes       = 2      // that are computed at once; one takes a quarter of a second
)

// login decides who may open pages.
type login struct {
	users    atomic.Pointer[Users]
	loopback bool
	key      string // of sessions
	stats    *stats
	hashing  chan struct{} // has room for maxHashes

	mu     sync.Mutex
	recent map[netip.Prefix]*rate.Limiter // guarded by mu: logins by address.Key
}

func newLogin(o Options, st *stats) *login {
	l := &login{loopback: o.Loopback, stats: st, hashing: make(chan struct{}, maxHashes), recent: make(map[netip.Prefix]*rate.Limiter)}
	l.users.Store(&o.Users)
	l.key = sum(cmp.Or(o.Secret, rand.Text()), "partyline: sessions of the Admin UI")
	return l
}

func sum(key string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// credentials are what a page gives as auth.
type credentials struct {
	SessionID string `json:"sessionId"`
	Username  string `json:"username"`
	Password  string `json:"password"`
}

// check returns the user of a connect request, and when the login expires. User is "" and expires zero for a client on
// loopback that needs no login. The text of an error is for the page.
func (l *login) check(h *backend.Handshake, now time.Time) (user string, expires time.Time, err error) {
	var given credentials
	_ = h.DecodeAuth(&given) // what does not fit is not given
	client, _ := netip.ParseAddr(h.Address)
	user, expires, isSession := l.read(given.SessionID, now)
	result := refusedCredentials
	switch {
	case isSession:
		result = bySession
	case l.loopback && client.IsLoopback() && !isForwarded(h):
		user, expires, result = "", time.Time{}, byLoopback
	case given.Username == "" || len(given.Password) > maxPassword: // a page without a session, before anyone has typed
	case !l.allow(address.Key(client), now):
		err, result = errors.New("too many logins, try again in a minute"), refusedRate
	case l.isPassword(given):
		user, expires, result = given.Username, now.Add(sessionLasts), byPassword
	}
	l.stats.logins[result].Inc()
	if result == refusedCredentials {
		err = errors.New(errCredentials)
	}
	return user, expires, err
}

// isForwarded reports whether a request has come through a proxy: on loopback is that, and perhaps not the client.
func isForwarded(h *backend.Handshake) bool {
	return slices.ContainsFunc([]string{"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"},
		func(name string) bool { _, has := h.Headers[name]; return has })
}

// allow reports whether an address may log in now, and counts it.
func (l *login) allow(client netip.Prefix, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) >= maxAddresses {
		maps.DeleteFunc(l.recent, func(_ netip.Prefix, logins *rate.Limiter) bool { return logins.TokensAt(now) >= loginsPerMinute })
	}
	if l.recent[client] == nil {
		if len(l.recent) >= maxAddresses {
			return false
		}
		l.recent[client] = rate.NewLimiter(rate.Every(time.Minute/loginsPerMinute), loginsPerMinute)
	}
	return l.recent[client].AllowN(now, 1)
}

// isPassword reports whether a password is that of the user. It takes as long for a name that is not there.
func (l *login) isPassword(given credentials) bool {
	l.hashing <- struct{}{}
	defer func() { <-l.hashing }()
	users := *l.users.Load()
	hash, isThere := users[given.Username]
	for _, other := range users {
		hash = cmp.Or(hash, other)
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(given.Password)) == nil && isThere
}

// write makes a session: the user, the time and a signature. A new password ends it, and so does a new secret.
func (l *login) write(user string, expires time.Time) string {
	at := strconv.FormatInt(expires.Unix(), 10)
	return base64.RawURLEncoding.EncodeToString([]byte(user)) + "." + at + "." + sum(l.key, user, at, (*l.users.Load())[user])
}

// read returns the user of a session, which any instance with the same secret and users has made.
func (l *login) read(text string, now time.Time) (user string, expires time.Time, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "", time.Time{}, false
	}
	name, _ := base64.RawURLEncoding.DecodeString(parts[0])
	at, _ := strconv.ParseInt(parts[1], 10, 64)
	user, expires = string(name), time.Unix(at, 0)
	hash, isThere := (*l.users.Load())[user]
	return user, expires, isThere && now.Before(expires) && hmac.Equal([]byte(parts[2]), []byte(sum(l.key, user, parts[1], hash)))
}
