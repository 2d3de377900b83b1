package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"partyline/backend"
)

const (
	namespace = "/chat_room"

	longestName = 24   // runes, of nicknames and rooms
	longestText = 2000 // runes

	// linesPrefix begins the room for what is said in a room. partyline.yaml has its newcomers get the last lines; who
	// comes and goes is not told again.
	linesPrefix = "lines."

	patience  = 4 * time.Second // of requests during a connect: less than an edge waits for this service
	delivered = 3 * time.Second // for the ack of a direct message; the sender's further events wait meanwhile
	stored    = 7 * time.Second // for a line: JetStream elects a leader in 5 to 8 seconds, and a page waits for 8
	again     = 500 * time.Millisecond
)

// lineID is the form of a line's id. No one can guess another's, so a page that invents one harms only itself.
var lineID = regexp.MustCompile(`^[0-9A-Za-z]{16,32}$`)

// chat handles the events of clients. Its sockets are owned: the events of each come in order, and reading its rooms
// and data costs no round trip. It stores nothing of a socket in this process: the nickname is in the socket's data,
// at its edge, as its rooms are. So another instance can continue where this one stopped.
type chat struct {
	ns    *backend.Namespace
	store store
	log   *slog.Logger
}

// register adds the chat's handlers.
func register(io *backend.Service, s store, log *slog.Logger) {
	c := &chat{io.Of(namespace, backend.Owned()), s, log}
	c.ns.Use(c.admit)
	c.ns.OnConnection(c.back)
	c.ns.On("nickname", c.nickname)
	c.ns.On("join", c.join)
	c.ns.On("leave", c.leave)
	c.ns.On("message", c.message)
	c.ns.On("typing", c.typing)
	c.ns.On("direct", c.direct)
	c.ns.On("who", c.who)
	c.ns.On("rooms", c.rooms)
	c.ns.OnDisconnect(c.gone)
}

// person is the data of a socket.
type person struct {
	Name string `json:"name"`
}

// failure is the ack of an event that failed, for people.
type failure struct {
	Error string `json:"error"`
}

// broken is the ack of a failure that the client did not cause. The details are in the log.
func (c *chat) broken(doing string, err error) failure {
	c.log.Error("a client was refused", "doing", doing, "error", err)
	return failure{"that did not work just now, please try again"}
}

// admit admits a client whose nickname is free.
func (c *chat) admit(s *backend.Socket) error {
	var auth struct{ Name, Key string }
	if err := s.Handshake().DecodeAuth(&auth); err != nil || !isName(auth.Name) {
		return &backend.Refusal{Message: "a name has 1 to 24 letters, digits, signs or spaces inside",
			Data: map[string]string{"code": "bad name"}}
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	err := c.take(ctx, owner{auth.Name, s.ID(), auth.Key})
	if errors.Is(err, errTaken) {
		return &backend.Refusal{Message: errTaken.Error(), Data: map[string]string{"code": "taken"}}
	}
	if err != nil {
		return err
	}
	return s.SetData(ctx, person{auth.Name})
}

// take claims a name, and disconnects an earlier socket of the same person: each person is here once.
func (c *chat) take(ctx context.Context, o owner) error {
	before, err := c.store.claim(ctx, o, func(socket string) bool {
		_, err := c.ns.Socket(socket).Fetch(ctx)
		return !errors.Is(err, backend.UnknownSocket) // in doubt it is alive
	})
	if before != "" && err == nil {
		if err := c.ns.Socket(before).Disconnect(ctx, false); err != nil && !errors.Is(err, backend.UnknownSocket) {
			c.log.Warn("a person's earlier socket was not ended", "socket", before, "error", err)
		}
	}
	return err
}

// back claims the name of a socket again whose client has come back, or that comes from another instance or from an
// edge that was declared dead. The name may have been released meanwhile.
func (c *chat) back(s *backend.Socket) {
	if _, taken := s.TakenOver(); !taken && !s.Recovered() {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	name := c.nameOf(s)
	if o, here, err := c.store.find(ctx, name); err == nil && here && o.Socket == s.ID() {
		return // the usual case
	}
	var auth struct{ Key string }
	err := s.Handshake().DecodeAuth(&auth)
	if err == nil {
		err = c.take(ctx, owner{name, s.ID(), auth.Key})
	}
	if errors.Is(err, errTaken) {
		c.log.Info("another socket has the name now", "name", name, "socket", s.ID())
		err = s.Disconnect(ctx, false)
	} else if err == nil {
		for _, room := range c.roomsOf(ctx, s) {
			_ = s.To(room).Emit("joined", room, name)
		}
	}
	if err != nil {
		c.log.Error("a socket is here again, and its name is not", "name", name, "socket", s.ID(), "error", err)
	}
}

// nickname gives the socket another name.
func (c *chat) nickname(ctx context.Context, s *backend.Socket, name string) any {
	if !isName(name) {
		return failure{"a name has 1 to 24 letters, digits, signs or spaces inside"}
	}
	var auth struct{ Key string }
	if err := s.Handshake().DecodeAuth(&auth); err != nil {
		return c.broken("nickname", err)
	}
	old := c.nameOf(s)
	err := c.take(ctx, owner{name, s.ID(), auth.Key})
	if errors.Is(err, errTaken) {
		return failure{errTaken.Error()}
	}
	if err == nil {
		err = s.SetData(ctx, person{name})
	}
	if err != nil {
		return c.broken("nickname", err)
	}
	if keyOf(old) != keyOf(name) {
		if _, err := c.store.release(ctx, old, s.ID()); err != nil {
			c.log.Warn("a name was not released; it is free once its socket has gone", "name", old, "error", err)
		}
	}
	if rooms := c.roomsOf(ctx, s); len(rooms) > 0 {
		_ = s.To(rooms...).Emit("renamed", old, name) // a client that misses it gets the name with the next line
	}
	return map[string]string{"name": name}
}

// join adds the socket to a room and returns the people in it. The room's last lines come as events, from the edge.
func (c *chat) join(ctx context.Context, s *backend.Socket, room string) any {
	if !isName(room) || strings.HasPrefix(room, linesPrefix) {
		return failure{"a room's name has 1 to 24 letters, digits, signs or spaces inside"}
	}
	if err := s.Join(ctx, room, linesPrefix+room); errors.Is(err, backend.BadArguments) || errors.Is(err, backend.Refused) {
		return failure{err.Error()}
	} else if err != nil {
		return c.broken("join", err)
	}
	_ = s.To(room).Emit("joined", room, c.nameOf(s))
	people, err := c.people(ctx, room)
	if err != nil {
		return c.broken("join", err)
	}
	return map[string]any{"people": people}
}

func (c *chat) leave(ctx context.Context, s *backend.Socket, room string) any {
	if !c.isIn(ctx, s, room) {
		return failure{"you are not in this room"}
	}
	if err := s.Leave(ctx, room, linesPrefix+room); err != nil {
		return c.broken("leave", err)
	}
	_ = c.ns.To(room).Emit("left", room, c.nameOf(s))
	return map[string]string{"room": room}
}

// message sends a line to everyone in the room, including its author: all see the same. A page that got no answer sends
// it again with the same id, and all see it once.
func (c *chat) message(ctx context.Context, s *backend.Socket, room, text, id string) any {
	if !c.isIn(ctx, s, room) {
		return failure{"you are not in this room"}
	}
	if !isText(text) {
		return failure{"a message has 1 to 2000 characters"}
	}
	if !lineID.MatchString(id) {
		id = rand.Text()
	}
	l := line{ID: id, Room: room, From: c.nameOf(s), Text: text, At: time.Now()}
	if err := c.publish(ctx, l); err != nil {
		return c.broken("message", err)
	}
	return map[string]string{"id": l.ID}
}

// publish sends a line to its room, and returns once it is stored. Emit does not wait for that: while JetStream has no
// leader, the line would be lost without notice.
func (c *chat) publish(ctx context.Context, l line) error {
	ctx, cancel := context.WithTimeout(ctx, stored)
	defer cancel()
	for {
		_, _, err := c.ns.To(linesPrefix+l.Room).EmitOnce(ctx, "chat."+l.ID, "message", l)
		if !errors.Is(err, backend.NoAnswer) {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *chat) typing(ctx context.Context, s *backend.Socket, room string) error {
	if !c.isIn(ctx, s, room) {
		return nil
	}
	return s.To(room).Volatile().Emit("typing", room, c.nameOf(s))
}

// direct sends a message to one person, and acks once that person's page has it.
func (c *chat) direct(ctx context.Context, s *backend.Socket, to, text string) any {
	if !isText(text) {
		return failure{"a message has 1 to 2000 characters"}
	}
	o, here, err := c.store.find(ctx, to)
	if err != nil {
		return c.broken("direct", err)
	}
	if !here {
		return failure{"nobody here is called " + to}
	}
	l := line{From: c.nameOf(s), Text: text, At: time.Now()}
	if _, err := c.ns.Socket(o.Socket).Timeout(delivered).EmitWithAck(ctx, "direct", l); err != nil {
		return failure{"it did not reach " + o.Name}
	}
	return map[string]any{"to": o.Name, "at": l.At}
}

func (c *chat) who(ctx context.Context, room string) any {
	people, err := c.people(ctx, room)
	if err != nil {
		return c.broken("who", err)
	}
	return map[string]any{"people": people}
}

// rooms returns the rooms that have members, and how many they have.
func (c *chat) rooms(ctx context.Context) any {
	rooms, err := c.ns.Rooms(ctx)
	if err != nil && !errors.Is(err, backend.NoAnswer) {
		return c.broken("rooms", err)
	}
	maps.DeleteFunc(rooms, func(room string, _ int) bool { return strings.HasPrefix(room, linesPrefix) })
	return map[string]any{"rooms": rooms}
}

// gone notifies the rooms that a person has left. A person who has reconnected is still here.
func (c *chat) gone(s *backend.Socket, _ string) {
	name := c.nameOf(s)
	released, err := c.store.release(s.Context(), name, s.ID())
	if err != nil {
		c.log.Warn("a name was not released; it is free all the same", "name", name, "error", err)
	}
	if rooms := c.roomsOf(s.Context(), s); (released || err != nil) && len(rooms) > 0 {
		_ = s.To(rooms...).Emit("gone", name) // not to its client, which may come back
	}
}

// people returns the names in a room. They come from the edges, so they are right with any number of instances.
func (c *chat) people(ctx context.Context, room string) ([]string, error) {
	sockets, err := c.ns.In(room).Fetch(ctx)
	if err != nil && !errors.Is(err, backend.NoAnswer) { // an edge may just be stopping: the others' answers suffice
		return nil, err
	}
	names := []string{}
	for _, socket := range sockets {
		var p person
		if err := json.Unmarshal(socket.Data, &p); err == nil && p.Name != "" {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (c *chat) nameOf(s *backend.Socket) string {
	var p person
	if err := s.Data(s.Context(), &p); err != nil {
		c.log.Error("a socket's data are not a person's", "socket", s.ID(), "error", err)
	}
	return p.Name
}

func (c *chat) isIn(ctx context.Context, s *backend.Socket, room string) bool {
	return slices.Contains(c.roomsOf(ctx, s), room)
}

// roomsOf returns the rooms that the socket's person has entered, without those for their lines.
func (c *chat) roomsOf(ctx context.Context, s *backend.Socket) []string {
	rooms, _ := s.Rooms(ctx) // no round trip for an owned socket
	return slices.DeleteFunc(rooms, func(room string) bool { return strings.HasPrefix(room, linesPrefix) })
}

// isName reports whether a nickname or a room can be distinguished by people: it is visible, and has no outer spaces.
func isName(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= longestName && strings.TrimSpace(name) == name && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isText(text string) bool {
	return strings.TrimSpace(text) != "" && utf8.RuneCountInString(text) <= longestText
}
