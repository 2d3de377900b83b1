package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
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

	patience  = 4 * time.Second // for what a newcomer waits for: less than an edge waits for this service
	delivered = 3 * time.Second // for the ack of who gets a direct message; the sender's further events wait meanwhile
)

// chat handles the events of clients. Its sockets are owned: the events of one come in the order sent, and what it asks
// about the socket itself costs no round trip. Yet it keeps nothing of a socket in this process (the nickname is in the
// socket's data, at its edge; rooms are there anyway), so another instance goes on where this one stopped.
type chat struct {
	ns    *backend.Namespace
	store store
	log   *slog.Logger
}

// register puts the chat's handlers in place.
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

// failure is the ack of what did not work, for people.
type failure struct {
	Error string `json:"error"`
}

// broken is the ack when it is not the client's fault. What exactly went wrong is for the log.
func (c *chat) broken(doing string, err error) failure {
	c.log.Error("a client was refused", "doing", doing, "error", err)
	return failure{"that did not work just now, please try again"}
}

// admit lets in who has a nickname that nobody else has.
func (c *chat) admit(s *backend.Socket) error {
	var auth struct{ Name, Key string }
	if err := s.Handshake().DecodeAuth(&auth); err != nil || !isName(auth.Name) {
		return &backend.Refusal{Message: "a name has 1 to 24 letters, digits, signs or spaces inside", Data: map[string]string{"code": "bad name"}}
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

// take claims a name, and ends the socket of the same person that had it: nobody is here twice.
func (c *chat) take(ctx context.Context, o owner) error {
	before, err := c.store.claim(ctx, o, func(socket string) bool {
		_, err := c.ns.Socket(socket).Fetch(ctx)
		return !errors.Is(err, backend.UnknownSocket) // in doubt it lives
	})
	if before != "" && err == nil {
		if err := c.ns.Socket(before).Disconnect(ctx, false); err != nil && !errors.Is(err, backend.UnknownSocket) {
			c.log.Warn("a person's earlier socket was not ended", "socket", before, "error", err)
		}
	}
	return err
}

// back sees to it that a socket which comes from another instance, or from an edge that was taken for dead, has its name:
// here or there it may have been released meanwhile.
func (c *chat) back(s *backend.Socket) {
	if _, taken := s.TakenOver(); !taken {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	name := c.nameOf(s)
	if o, here, err := c.store.find(ctx, name); err == nil && here && o.Socket == s.ID() {
		return // as after every deploy
	}
	var auth struct{ Key string }
	err := s.Handshake().DecodeAuth(&auth)
	if err == nil {
		err = c.take(ctx, owner{name, s.ID(), auth.Key})
	}
	if errors.Is(err, errTaken) {
		c.log.Info("somebody else has the name by now", "name", name, "socket", s.ID())
		err = s.Disconnect(ctx, false)
	} else if err == nil {
		rooms, _ := s.Rooms(ctx) // of an owned socket they are known
		for _, room := range rooms {
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
	if rooms, _ := s.Rooms(ctx); len(rooms) > 0 {
		_ = s.To(rooms...).Emit("renamed", old, name) // who misses it sees the name with the next line
	}
	return map[string]string{"name": name}
}

// join puts the socket into a room and tells what is there.
func (c *chat) join(ctx context.Context, s *backend.Socket, room string) any {
	if !isName(room) {
		return failure{"a room's name has 1 to 24 letters, digits, signs or spaces inside"}
	}
	if err := s.Join(ctx, room); errors.Is(err, backend.BadArguments) || errors.Is(err, backend.Refused) {
		return failure{err.Error()}
	} else if err != nil {
		return c.broken("join", err)
	}
	_ = s.To(room).Emit("joined", room, c.nameOf(s))
	people, err := c.people(ctx, room)
	if err != nil {
		return c.broken("join", err)
	}
	// Lines that come meanwhile may be among these, too: the page knows them by their numbers.
	lines, err := c.store.last(ctx, room)
	if err != nil {
		return c.broken("join", err)
	}
	return map[string]any{"people": people, "lines": lines}
}

func (c *chat) leave(ctx context.Context, s *backend.Socket, room string) any {
	if !c.isIn(ctx, s, room) {
		return failure{"you are not in this room"}
	}
	if err := s.Leave(ctx, room); err != nil {
		return c.broken("leave", err)
	}
	_ = c.ns.To(room).Emit("left", room, c.nameOf(s))
	return map[string]string{"room": room}
}

// message keeps a line and sends it to everyone in the room, its author among them: all see the same.
func (c *chat) message(ctx context.Context, s *backend.Socket, room, text string) any {
	if !c.isIn(ctx, s, room) {
		return failure{"you are not in this room"}
	}
	if !isText(text) {
		return failure{"a message has 1 to 2000 characters"}
	}
	l := line{Room: room, From: c.nameOf(s), Text: text, At: time.Now()}
	if err := c.store.add(ctx, &l); err != nil {
		return c.broken("message", err)
	}
	if err := c.ns.To(room).Emit("message", l); err != nil {
		return c.broken("message", err)
	}
	return map[string]uint64{"n": l.N}
}

func (c *chat) typing(ctx context.Context, s *backend.Socket, room string) error {
	if !c.isIn(ctx, s, room) {
		return nil
	}
	return s.To(room).Volatile().Emit("typing", room, c.nameOf(s))
}

// direct sends a message to one person, and acks once that one's page has it.
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

// rooms are those with somebody in them, and how many.
func (c *chat) rooms(ctx context.Context) any {
	rooms, err := c.ns.Rooms(ctx)
	if err != nil && !errors.Is(err, backend.NoAnswer) {
		return c.broken("rooms", err)
	}
	return map[string]any{"rooms": rooms}
}

// gone tells the rooms that somebody has left for good. Who has come back by another socket is still here.
func (c *chat) gone(s *backend.Socket, _ string) {
	name := c.nameOf(s)
	released, err := c.store.release(s.Context(), name, s.ID())
	if err != nil {
		c.log.Warn("a name was not released; it is free all the same", "name", name, "error", err)
	}
	rooms, _ := s.Rooms(s.Context()) // of an owned socket they are known
	if (released || err != nil) && len(rooms) > 0 {
		_ = c.ns.To(rooms...).Emit("gone", name)
	}
}

// people are the names in a room, as its sockets' edges tell them: that is true with any number of instances.
func (c *chat) people(ctx context.Context, room string) ([]string, error) {
	sockets, err := c.ns.In(room).Fetch(ctx)
	if err != nil && !errors.Is(err, backend.NoAnswer) { // an edge may be leaving just now: what the others told counts
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
	rooms, _ := s.Rooms(ctx) // of an owned socket they are known
	return slices.Contains(rooms, room)
}

// isName tells whether people can tell a nickname or a room from others: it can be seen, and has no spaces around it.
func isName(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= longestName && strings.TrimSpace(name) == name && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func isText(text string) bool {
	return strings.TrimSpace(text) != "" && utf8.RuneCountInString(text) <= longestText
}
