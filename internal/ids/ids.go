// Package ids makes the ids of edges, and those of their sessions and sockets. Package subjects has their forms.
package ids

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// NewEdge makes the id of an edge: 8 random characters of 0-9 and a-z, new at each start of a process.
func NewEdge() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return string(b[:])
}

// New makes the id of a session or socket that begins at an edge. Behind the edge's own it has 20 base64url
// characters, 120 random bits: it cannot be guessed.
func New(edge string) string {
	var b [15]byte
	_, _ = rand.Read(b[:])
	return edge + "." + base64.RawURLEncoding.EncodeToString(b[:])
}

// Public is what services know of a session. Its id is a secret, which the name does not tell without the key.
func Public(key [32]byte, id string) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:12]
}
