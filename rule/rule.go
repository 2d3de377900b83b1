// Package rule is what the configuration declares of namespaces: who admits clients, which rooms they may enter by
// themselves, and which of their events are relayed to other clients.
package rule

import (
	"time"

	"partyline/subjects"
)

// Who admits sockets to a namespace.
const (
	ConnectService = "service" // a service answers the connect request
	ConnectOpen    = "open"    // everyone is admitted, services get a notice
	ConnectToken   = "token"   // who shows a token of one of the namespace's issuers is admitted, services get a notice
)

// Where a relay rule sends an event.
const (
	ToRooms      = "rooms"        // every room of the sender, a union: each receiver gets it once
	ToRoom       = "room"         // the room that the event's first argument names, if the sender is in it
	ToSocket     = "socket"       // the socket whose id is the event's first argument
	ToAll        = "all"          // the whole namespace
	ToRoomsOrAll = "rooms_or_all" // the sender's rooms, or the whole namespace while it is in none
)

// Namespace says what clients may do in a namespace without a service.
type Namespace struct {
	Connect        string        `yaml:"connect"`                   // one of the Connect… constants; "" is ConnectService
	Tokens         []string      `yaml:"tokens,omitempty,flow"`     // names of the issuers whose tokens admit, with ConnectToken
	UserRoom       string        `yaml:"user_room,omitempty"`       // what the room of a user begins with, in which all its sockets are; "": there are none
	ConnectTimeout time.Duration `yaml:"connect_timeout,omitempty"` // how long services are asked to admit; 0 is DefaultConnectTimeout
	Unavailable    string        `yaml:"unavailable,omitempty"`     // what a client gets if no service decides: UnavailableWait or UnavailableRefuse; "" is UnavailableWait
	Rooms          []string      `yaml:"rooms,omitempty,flow"`      // patterns of the rooms that a client may join and leave by itself
	AutoJoin       []string      `yaml:"auto_join,omitempty,flow"`  // rooms that every socket enters at connect
	Relay          []Relay       `yaml:"relay,omitempty"`           // first rule whose Event matches applies

	// Events and acks of one session, in all namespaces of the name or pattern together; 0: only the session's limits.
	EventsPerSecond int `yaml:"events_per_second,omitempty"`
	EventsBurst     int `yaml:"events_burst,omitempty"` // that may come at once; 0: those of two seconds

	Recovery Recovery `yaml:"recovery,omitempty"` // what a client gets that comes back
	Rewind   []Rewind `yaml:"rewind,omitempty"`   // what a socket gets that enters a room; first rule whose Room matches applies

	Presence Presence `yaml:"presence,omitempty"` // which rooms show who is in them
}

// Presence shows clients and services who is in rooms.
type Presence struct {
	Rooms []string `yaml:"rooms,flow"`     // patterns of rooms; none: there is no presence
	By    string   `yaml:"by"`             // what counts: BySocket or ByUser
	Event string   `yaml:"event"`          // what clients get, and by which they ask for the list
	Max   int      `yaml:"max"`            // clients get only the number of more members
	Data  bool     `yaml:"data,omitempty"` // whether the data of sockets is shown
}

// What is counted as a member of a room.
const (
	BySocket = "socket"
	ByUser   = "user" // a user's sockets are one member
)

// DefaultPresence is presence in rooms, with the defaults.
func DefaultPresence(rooms ...string) Presence {
	return Presence{Rooms: rooms, By: BySocket, Event: "partyline:presence", Max: 1000}
}

// ShowPresence reports whether a room of any namespace shows who is in it.
func ShowPresence(namespaces map[string]Namespace) bool {
	for _, n := range namespaces {
		if n.Presence.IsOn() {
			return true
		}
	}
	return false
}

// IsOn reports whether any room shows who is in it.
func (p *Presence) IsOn() bool { return len(p.Rooms) > 0 }

// Has reports whether a room does.
func (p *Presence) Has(room string) bool { return matchesOne(p.Rooms, []byte(room)) }

// Recovery keeps a socket for a client that comes back, and sends the client the events that it missed.
type Recovery struct {
	For      time.Duration // how long a client may be away; 0: there is no recovery
	AskAgain bool          // services admit a socket that comes back, too; false: they get a notice
}

// MarshalYAML returns the mapping of the configuration.
func (r Recovery) MarshalYAML() (any, error) {
	return struct {
		For           time.Duration `yaml:"for"`
		SkipAdmission bool          `yaml:"skip_admission"`
	}{r.For, !r.AskAgain}, nil
}

// Rewind is how much of a room's past a socket gets that enters it.
type Rewind struct {
	Room     string        `yaml:"room"`     // pattern of rooms
	Messages int           `yaml:"messages"` // at most so many, the last ones
	Age      time.Duration `yaml:"age"`      // none that is older
}

// Relay passes a client's event on to other clients; the body stays as it is.
type Relay struct {
	Event string `yaml:"event"` // pattern of event names
	To    string `yaml:"to"`    // one of the To… constants
	Self  bool   `yaml:"self"`  // whether the sender gets it too
}

// DefaultConnectTimeout is how long services are asked to admit a socket.
const DefaultConnectTimeout = 20 * time.Second

// What happens to a client about which no service decides.
const (
	// UnavailableWait lets it wait, and closes its transport at the end, so that it comes back by itself.
	UnavailableWait = "wait"
	// UnavailableRefuse refuses it with a CONNECT_ERROR, at once if there is no service. The official client stays
	// away then.
	UnavailableRefuse = "refuse"
)

// AsksService reports whether a service decides who is admitted.
func (n *Namespace) AsksService() bool { return n.Connect == ConnectService || n.Connect == "" }

// Refuses reports whether a client is refused when no service decides.
func (n *Namespace) Refuses() bool { return n.Unavailable == UnavailableRefuse }

// IsLogged reports whether the events of the namespace are recorded, for Recovery or Rewind.
func (n *Namespace) IsLogged() bool { return n.Recovery.For > 0 || len(n.Rewind) > 0 }

// RewindOf returns the rule for a room, or nil.
func (n *Namespace) RewindOf(room []byte) *Rewind {
	for i := range n.Rewind {
		if subjects.Matches(n.Rewind[i].Room, room) {
			return &n.Rewind[i]
		}
	}
	return nil
}
