package rule

import (
	"errors"
	"fmt"
	"strings"

	"partyline/subjects"
	"partyline/wire/msg"
)

// IsRoomChange reports whether an event is a join or leave that the edge itself acts on. g is what the socket was
// granted; nil: nothing.
func (n *Namespace) IsRoomChange(event []byte, g *msg.Grant) bool {
	switch string(event) {
	case "join":
		return len(n.Rooms) > 0 || g != nil && g.Join != nil
	case "leave":
		return len(n.Rooms) > 0 || g != nil && g.Leave != nil
	}
	return false
}

// MayEnter reports whether a client may join a room by itself. It may never join that of a user.
func (n *Namespace) MayEnter(room []byte, g *msg.Grant) bool {
	patterns := n.Rooms
	if g != nil && g.Join != nil {
		patterns = g.Join
	}
	return !n.isOfUser(string(room)) && matchesOne(patterns, room)
}

// MayLeave reports whether a client may leave a room by itself.
func (n *Namespace) MayLeave(room []byte, g *msg.Grant) bool {
	patterns := n.Rooms
	if g != nil && g.Leave != nil {
		patterns = g.Leave
	}
	return !n.isOfUser(string(room)) && matchesOne(patterns, room)
}

// MayEmit reports whether a client may emit an event.
func MayEmit(event []byte, g *msg.Grant) bool {
	return g == nil || g.Emit == nil || matchesOne(g.Emit, event)
}

func matchesOne(patterns []string, name []byte) bool {
	for _, pattern := range patterns {
		if subjects.Matches(pattern, name) {
			return true
		}
	}
	return false
}

// isOfUser reports whether a room, by its name, is below the prefix of users' rooms.
func (n *Namespace) isOfUser(room string) bool {
	return n.UserRoom != "" && strings.HasPrefix(room, n.UserRoom)
}

// ErrUserRoom is the error of a grant that names a room of users.
var ErrUserRoom = errors.New("only user_room itself puts sockets into rooms below its prefix")

// RoomsOf returns the rooms that a grant puts a socket into: those that it names, and that of its user. The error says
// which of them cannot be, and why.
func (n *Namespace) RoomsOf(g *msg.Grant) ([]string, error) {
	for _, room := range g.Rooms {
		if n.isOfUser(room) {
			return nil, fmt.Errorf("room %.100q: %w", room, ErrUserRoom)
		}
	}
	if n.UserRoom == "" || g.User == "" {
		return g.Rooms, nil
	}
	room := n.UserRoom + g.User
	if _, err := subjects.AppendRoom(nil, room); err != nil {
		return nil, fmt.Errorf("a user's name with user_room %q before it: %w", n.UserRoom, err)
	}
	return append(g.Rooms[:len(g.Rooms):len(g.Rooms)], room), nil
}

// IsUserRoom is isOfUser for a room as in subjects.
func (n *Namespace) IsUserRoom(token string) bool {
	if n.UserRoom == "" {
		return false
	}
	name, err := subjects.Room(token)
	return err == nil && n.isOfUser(name)
}
