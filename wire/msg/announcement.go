package msg

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Edges and instances announce themselves every BeatEvery. After a silence of DeadAfter they are taken for dead:
// three beats are missed, and half of one is for the way. MaxClockSkew is the largest difference between the clocks
// of two edges if announcements are signed.
const (
	BeatEvery    = time.Second
	DeadAfter    = 3*BeatEvery + BeatEvery/2
	MaxClockSkew = 30 * time.Second
)

// ErrAnnouncement is wrapped by the errors about announcements.
var ErrAnnouncement = errors.New("bad announcement")

// EdgeAnnouncement is the body of $edge.<edge>.hello, beat, bye, and of gone, which another edge (By) publishes.
type EdgeAnnouncement struct {
	Edge     string `json:"edge"`
	At       int64  `json:"at"`              // milliseconds since 1970
	Every    int64  `json:"every,omitempty"` // milliseconds between two beats
	Sockets  int    `json:"sockets"`
	Address  string `json:"address,omitempty"`  // http://host:port for other edges; "": they cannot reach it
	Draining bool   `json:"draining,omitempty"` // it takes no new sessions
	By       string `json:"by,omitempty"`

	Counts *EdgeCounts `json:"counts,omitempty"` // in hello and beat
}

// EdgeCounts are what an edge counts, for people and tools.
type EdgeCounts struct {
	Started    int64          `json:"started"` // milliseconds since 1970
	Clients    int            `json:"clients"` // sessions
	Polling    int            `json:"polling"` // those of them that have no WebSocket
	Opened     uint64         `json:"opened"`  // sessions since the start, and those of them that have ended
	Ended      uint64         `json:"ended"`
	BytesIn    uint64         `json:"bytes_in"` // of clients since the start, and to them
	BytesOut   uint64         `json:"bytes_out"`
	Namespaces map[string]int `json:"namespaces,omitempty"` // their sockets; see Largest
}

// What an announcement may say of namespaces.
const (
	maxCounted      = 100
	maxCountedBytes = 8192 // of names
)

// Largest returns the namespaces with the most sockets: at most 100, whose names have at most 8,192 bytes.
func Largest(namespaces map[string]int) map[string]int {
	names := slices.SortedFunc(maps.Keys(namespaces), func(a, b string) int {
		return cmp.Or(namespaces[b]-namespaces[a], strings.Compare(a, b))
	})
	found, bytes := make(map[string]int), 0
	for _, name := range names[:min(len(names), maxCounted)] {
		if bytes += len(name); bytes > maxCountedBytes {
			break
		}
		found[name] = namespaces[name]
	}
	return found
}

// InstanceAnnouncement is the body of $svc.<group>.<instance>.….
type InstanceAnnouncement struct {
	Instance   string   `json:"instance"`
	Group      string   `json:"group"`
	Owns       bool     `json:"owns,omitempty"` // it owns sockets of the namespaces, unless it says not mine
	Namespaces []string `json:"namespaces"`     // by name or pattern
	At         int64    `json:"at"`             // milliseconds since 1970
	Every      int64    `json:"every"`          // milliseconds between two beats
}

// Body returns the announcement as a body.
func (a EdgeAnnouncement) Body() []byte { return encode([]any{a}) }

// Body returns the announcement as a body.
func (a InstanceAnnouncement) Body() []byte { return encode([]any{a}) }

// HandedOver is an edge's answer to an instance that is leaving.
type HandedOver struct {
	Edge    string   `json:"edge"`
	Sockets int      `json:"sockets"` // of the edge that the instance owned
	Markers []string `json:"markers"` // the namespaces in which the edge has sent an end marker
}

// Body returns the answer as a body.
func (h HandedOver) Body() []byte {
	h.Markers = orNone(h.Markers)
	return encode([]any{h})
}

// ParseHandedOver reads such an answer. Its errors wrap ErrAnnouncement.
func ParseHandedOver(body []byte) (HandedOver, error) { return parseAnnouncement[HandedOver](body) }

// ParseEdgeAnnouncement reads the body of an edge's announcement. Its errors wrap ErrAnnouncement.
func ParseEdgeAnnouncement(body []byte) (EdgeAnnouncement, error) {
	return parseAnnouncement[EdgeAnnouncement](body)
}

// EdgeHostPort returns host and port of the address in an announcement: "10.0.0.7:3000" for "http://10.0.0.7:3000".
// Its errors wrap ErrAnnouncement.
func EdgeHostPort(address string) (string, error) {
	hostPort, isHTTP := strings.CutPrefix(address, "http://")
	hostPort = strings.TrimSuffix(hostPort, "/")
	u, err := url.Parse("http://" + hostPort)
	if !isHTTP || err != nil || u.Host != hostPort || u.Hostname() == "" {
		return "", fmt.Errorf("%w: its address is not http://host:port", ErrAnnouncement)
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return "", fmt.Errorf("%w: its address has no port from 1 to 65535", ErrAnnouncement)
	}
	return hostPort, nil
}

// ParseInstanceAnnouncement reads the body of an instance's announcement. Its errors wrap ErrAnnouncement.
func ParseInstanceAnnouncement(body []byte) (InstanceAnnouncement, error) {
	return parseAnnouncement[InstanceAnnouncement](body)
}

func parseAnnouncement[T any](body []byte) (a T, err error) {
	var list []T
	if err := json.Unmarshal(body, &list); err != nil {
		return a, fmt.Errorf("%w: %w", ErrAnnouncement, err)
	}
	if len(list) != 1 {
		return a, fmt.Errorf("%w: it must be an array of one object", ErrAnnouncement)
	}
	return list[0], nil
}

// Sign returns the hexadecimal HMAC-SHA256 of lines, joined with line feeds, with the secret that edges share. It is
// the value of Sio-Signature for an edge's announcement, with the lines <edge>.<word> and the body.
func Sign(secret string, lines ...string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(mac.Sum(nil))
}

// IsSigned reports whether a signature is the one that Sign makes, in digits of either case.
func IsSigned(signature, secret string, lines ...string) bool {
	return hmac.Equal([]byte(strings.ToLower(signature)), []byte(Sign(secret, lines...)))
}

// CheckAge returns an error for a time, in milliseconds since 1970, that is further from now than MaxClockSkew.
func CheckAge(at int64, now time.Time) error {
	if off := now.Sub(time.UnixMilli(at)).Abs(); off > MaxClockSkew {
		return fmt.Errorf("%v from now (are the clocks of the edges right?)", off.Round(time.Second))
	}
	return nil
}

// Verify checks that an announcement was signed with the secret, and made within MaxClockSkew of now. Its errors wrap
// ErrAnnouncement.
func Verify(secret, edge, word string, body []byte, header string, now time.Time) error {
	if !IsSigned(header, secret, edge+"."+word, string(body)) {
		return fmt.Errorf("%w: its signature is missing or wrong (edges.secret must be the same on every edge)", ErrAnnouncement)
	}
	a, err := ParseEdgeAnnouncement(body)
	if err != nil {
		return err
	}
	if err := CheckAge(a.At, now); err != nil {
		return fmt.Errorf("%w: it was made %w", ErrAnnouncement, err)
	}
	return nil
}
