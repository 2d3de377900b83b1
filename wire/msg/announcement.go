package msg

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Announcements: how often, and how long silence lasts until it means death: three beats missed, and half of one for the
// way. MaxClockSkew is how far the clocks of two edges may differ when announcements are signed.
const (
	BeatEvery    = time.Second
	DeadAfter    = 3*BeatEvery + BeatEvery/2
	MaxClockSkew = 30 * time.Second
)

// ErrAnnouncement is wrapped by the errors about announcements.
var ErrAnnouncement = errors.New("bad announcement")

// EdgeAnnouncement is what an edge says of itself on $edge.<edge>.hello, beat and bye; gone is said by another edge, By.
type EdgeAnnouncement struct {
	Edge     string `json:"edge"`
	At       int64  `json:"at"`              // milliseconds since 1970
	Every    int64  `json:"every,omitempty"` // milliseconds between two beats
	Sockets  int    `json:"sockets"`
	Address  string `json:"address,omitempty"`  // http://host:port for other edges; "": they cannot reach it
	Draining bool   `json:"draining,omitempty"` // it takes no new sessions
	By       string `json:"by,omitempty"`
}

// InstanceAnnouncement is what an instance of a service says of itself on $svc.<group>.<instance>.….
type InstanceAnnouncement struct {
	Instance   string   `json:"instance"`
	Group      string   `json:"group"`
	Namespaces []string `json:"namespaces"` // by name or pattern
	At         int64    `json:"at"`         // milliseconds since 1970
	Every      int64    `json:"every"`      // milliseconds between two beats
}

// Body is the announcement as a body.
func (a EdgeAnnouncement) Body() []byte { return encode([]any{a}) }

// Body is the announcement as a body.
func (a InstanceAnnouncement) Body() []byte { return encode([]any{a}) }

// HandedOver is an edge's answer to an instance that is leaving.
type HandedOver struct {
	Edge    string   `json:"edge"`
	Sockets int      `json:"sockets"` // of the edge that the instance owned
	Markers []string `json:"markers"` // the namespaces in which the edge has sent an end marker
}

// Body returns the answer as a body.
func (h HandedOver) Body() []byte { return encode([]any{h}) }

// ParseHandedOver reads such an answer. Its errors wrap ErrAnnouncement.
func ParseHandedOver(body []byte) (HandedOver, error) { return parseAnnouncement[HandedOver](body) }

// ParseEdgeAnnouncement reads the body of an edge's announcement. Its errors wrap ErrAnnouncement.
func ParseEdgeAnnouncement(body []byte) (EdgeAnnouncement, error) {
	return parseAnnouncement[EdgeAnnouncement](body)
}

// EdgeHostPort is where the address of an announcement leads to: "http://10.0.0.7:3000" → "10.0.0.7:3000". Its errors wrap
// ErrAnnouncement.
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

// Sign is the value of the Sio-Signature header for an edge's announcement: the hexadecimal HMAC-SHA256 with the edges'
// shared secret over the two tokens of its subject and its body, <edge>.<word>\n<body>.
func Sign(secret, edge, word string, body []byte) string {
	return hex.EncodeToString(signature(secret, edge, word, body))
}

// Verify tells whether an announcement carries the signature of somebody who knows the secret, and was made within
// MaxClockSkew of now. Its errors wrap ErrAnnouncement.
func Verify(secret, edge, word string, body []byte, header string, now time.Time) error {
	given, err := hex.DecodeString(header)
	if err != nil || !hmac.Equal(given, signature(secret, edge, word, body)) {
		return fmt.Errorf("%w: its signature is missing or wrong (edges.secret must be the same on every edge)", ErrAnnouncement)
	}
	a, err := ParseEdgeAnnouncement(body)
	if err != nil {
		return err
	}
	if off := now.Sub(time.UnixMilli(a.At)).Abs(); off > MaxClockSkew {
		return fmt.Errorf("%w: it was made %v from now (are the clocks of the edges right?)", ErrAnnouncement, off.Round(time.Second))
	}
	return nil
}

func signature(secret, edge, word string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s\n%s", edge, word, body)
	return mac.Sum(nil)
}
