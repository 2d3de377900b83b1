package msg

import (
	"bytes"
	"encoding/json"
)

// EventMembers names what an edge publishes with VerbMember.
const EventMembers = "members"

// Bounds of what is shown of a member, in bytes. What is longer is left out.
const (
	maxShownUser = 512
	maxShownData = 1024
)

// Present is a member of a room: who it is, or why it has left.
type Present struct {
	ID     string          `json:"id,omitempty"` // of the socket; "" where a user stands for all its sockets
	User   string          `json:"user,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"` // nil if it is not shown
	Reason string          `json:"reason,omitempty"`
}

// Shown returns what is shown of a socket. data is JSON, or nil for what is not shown.
func Shown(id, user string, data []byte) Present {
	p := Present{ID: id}
	if len(user) <= maxShownUser {
		p.User = user
	}
	if len(data) <= maxShownData && string(data) != "{}" {
		p.Data = data
	}
	return p
}

// Equal reports whether nothing but the reason differs.
func (p Present) Equal(other Present) bool {
	return p.ID == other.ID && p.User == other.User && bytes.Equal(p.Data, other.Data)
}

// Gone is the member as one that has left.
func (p Present) Gone(reason string) Present { return Present{ID: p.ID, User: p.User, Reason: reason} }

// RoomMembers is what an edge publishes when the members of a room change there.
type RoomMembers struct {
	Edge   string    `json:"edge"`
	N      uint64    `json:"n"`      // counts the messages of the edge about the room; 1: Joined is all members there
	Joined []Present `json:"joined"` // also those that were there, with another user or data
	Left   []Present `json:"left"`
}

// Body returns the message.
func (m RoomMembers) Body() []byte {
	m.Joined, m.Left = append([]Present{}, m.Joined...), append([]Present{}, m.Left...) // [] for none
	return notice(EventMembers, m)
}

// ParseMembers reads a message of Body.
func ParseMembers(body []byte) (m RoomMembers, err error) {
	err = ParseNotice(body, &m)
	return m, err
}

// Presence is what clients get about the members of a room: changes, the list, or their number.
type Presence struct {
	Room    string    `json:"room"`
	Joined  []Present `json:"joined,omitzero"`
	Left    []Present `json:"left,omitzero"`
	Members []Present `json:"members,omitzero"`
	Count   *int      `json:"count,omitempty"` // instead of the others
}

// Event returns it as the body of an event.
func (p Presence) Event(name string) []byte { return notice(name, p) }

// Ack returns it as the body of an ack.
func (p Presence) Ack() []byte { return encode([]any{p}) }
