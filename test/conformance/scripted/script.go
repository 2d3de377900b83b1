package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"partyline/backend"
)

// plan is one call of the server's interface: on the namespace ("io") or the socket, behind some steps such as
// ["to","room"], a method with its arguments.
type plan struct {
	Of    string
	Steps [][]any
	Call  []any
}

func (p plan) method() string { return p.Call[0].(string) }

func (p plan) asks() bool { return p.method() == "emitWithAck" }

// chosen is a namespace, a socket or a target, on which further steps are possible.
type chosen interface {
	To(roomsOrIDs ...string) backend.Target
	In(roomsOrIDs ...string) backend.Target
	Except(roomsOrIDs ...string) backend.Target
	Volatile() backend.Target
	Compress(worthIt bool) backend.Target
	Timeout(d time.Duration) backend.Target
	Emit(event string, args ...any) error
}

// many are the calls that a namespace and a target have.
type many interface {
	Join(ctx context.Context, rooms ...string) (int, error)
	Leave(ctx context.Context, rooms ...string) (int, error)
	Disconnect(ctx context.Context, closeConnection bool) (int, error)
	EmitWithAck(ctx context.Context, event string, args ...any) (backend.Responses, error)
	Fetch(ctx context.Context) ([]backend.Snapshot, error)
	Rooms(ctx context.Context) (map[string]int, error)
}

// choose follows the steps. broadcast reports whether they lead to many sockets.
func (p plan) choose(s *backend.Socket) (at chosen, broadcast bool) {
	at = s
	if p.Of == "io" {
		at, broadcast = s.Namespace(), true
	}
	for _, step := range p.Steps {
		args := step[1:]
		switch step[0] {
		case "to":
			at, broadcast = at.To(texts(args)...), true
		case "in":
			at, broadcast = at.In(texts(args)...), true
		case "except":
			at, broadcast = at.Except(texts(args)...), true
		case "broadcast":
			at, broadcast = s.Broadcast(), true
		case "volatile":
			at = at.Volatile()
		case "compress":
			at = at.Compress(args[0].(bool))
		case "timeout":
			at = at.Timeout(time.Duration(args[0].(float64)) * time.Millisecond)
		}
	}
	return at, broadcast
}

// perform executes a plan. The result is a line.
func perform(ctx context.Context, s *backend.Socket, p plan) string {
	at, broadcast := p.choose(s)
	args := p.Call[1:]
	switch p.method() {
	case "emit":
		return outcome(at.Emit(args[0].(string), args[1:]...))
	case "emitWithAck":
		return ask(ctx, at, broadcast, args[0].(string), args[1:])
	}
	if !broadcast {
		return performAlone(ctx, s, p)
	}
	all := at.(many)
	switch p.method() {
	case "serverSideEmit":
		return outcome(s.Namespace().ServerSideEmit(args[0].(string), args[1:]...))
	case "serverSideEmitWithAck":
		return askServers(ctx, s.Namespace(), args[0].(string), args[1:])
	case "socketsJoin":
		_, err := all.Join(ctx, texts(args)...)
		return outcome(err)
	case "socketsLeave":
		_, err := all.Leave(ctx, texts(args)...)
		return outcome(err)
	case "disconnectSockets":
		_, err := all.Disconnect(ctx, slices.Contains(args, any(true)))
		return outcome(err)
	case "fetchSockets":
		return fetch(ctx, all)
	case "rooms":
		counts, err := all.Rooms(ctx)
		if err != nil {
			return outcome(err)
		}
		return shown(counts)
	}
	return "no such call"
}

// performAlone is perform for the calls of one socket.
func performAlone(ctx context.Context, s *backend.Socket, p plan) string {
	args := p.Call[1:]
	switch p.method() {
	case "join":
		return outcome(s.Join(ctx, texts(args)...))
	case "leave":
		return outcome(s.Leave(ctx, texts(args)...))
	case "disconnect":
		return outcome(s.Disconnect(ctx, slices.Contains(args, any(true))))
	case "rooms":
		rooms, err := s.Rooms(ctx)
		if err != nil {
			return outcome(err)
		}
		return sortedRooms(rooms)
	case "data":
		var data any
		if err := s.Data(ctx, &data); err != nil {
			return outcome(err)
		}
		return shown(data)
	case "setData": // some members, as an assignment to the reference's socket.data
		data := make(map[string]any)
		if err := s.Data(ctx, &data); err != nil {
			return outcome(err)
		}
		for name, value := range args[0].(map[string]any) {
			data[name] = value
		}
		return outcome(s.SetData(ctx, data))
	}
	return "no such call"
}

func outcome(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

// ask emits with an ack. The reference has the first argument of each ack only.
func ask(ctx context.Context, at chosen, broadcast bool, event string, args []any) string {
	if s, ok := at.(*backend.Socket); ok {
		answer, err := s.EmitWithAck(ctx, event, args...)
		return asked(err, "answer "+first(answer), "")
	}
	r, err := at.(many).EmitWithAck(ctx, event, args...)
	answers := make([]string, len(r.Answers))
	for i, answer := range r.Answers {
		answers[i] = first(answer.Args)
	}
	if !broadcast {
		return asked(err, "answer "+strings.Join(answers, ""), "")
	}
	slices.Sort(answers)
	told := "answers [" + strings.Join(answers, ",") + "]"
	return asked(err, told, ", "+told)
}

func askServers(ctx context.Context, ns *backend.Namespace, event string, args []any) string {
	r, err := ns.ServerSideEmitWithAck(ctx, event, args...)
	if err != nil {
		return outcome(err)
	}
	answers := make([]string, len(r.Answers))
	for i, answer := range r.Answers {
		answers[i] = first(answer.Args)
	}
	slices.Sort(answers)
	return "answers [" + strings.Join(answers, ",") + "]"
}

func asked(err error, answered, soFar string) string {
	switch {
	case err == nil:
		return answered
	case errors.Is(err, backend.NoAnswer):
		return "timed out" + soFar
	case errors.Is(err, backend.UnknownSocket):
		return "gone"
	}
	return "failed"
}

func first(args backend.Args) string {
	var value any
	_ = args.Decode(&value)
	return shown(value)
}

func fetch(ctx context.Context, all many) string {
	found, err := all.Fetch(ctx)
	if err != nil {
		return outcome(err)
	}
	list := make([]map[string]any, len(found))
	for i, f := range found {
		var given auth
		if err := f.Handshake.DecodeAuth(&given); err != nil {
			return outcome(err)
		}
		slices.Sort(f.Rooms)
		list[i] = map[string]any{"name": given.Name, "data": f.Data, "rooms": f.Rooms, "url": f.Handshake.URL}
	}
	slices.SortFunc(list, byName)
	return shown(list)
}

func sortedRooms(rooms []string) string {
	slices.Sort(rooms)
	return shown(append([]string{}, rooms...))
}

func shownArgs(args backend.Args) string { return shown(decoded(args)) }

func decoded(args backend.Args) []any {
	values, targets := make([]any, args.Len()), make([]any, args.Len())
	for i := range values {
		targets[i] = &values[i]
	}
	_ = args.Decode(targets...) // any accepts every type
	return values
}

// shown is a value as JSON, with keys in order and binary data as hexadecimal digits.
func shown(value any) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(hexadecimal(value)); err != nil {
		return fmt.Sprint(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// hexadecimal replaces binary data. It changes maps and slices in place.
func hexadecimal(value any) any {
	switch v := value.(type) {
	case []byte:
		return "<" + hex.EncodeToString(v) + ">"
	case []any:
		for i := range v {
			v[i] = hexadecimal(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = hexadecimal(v[key])
		}
	}
	return value
}

func texts(values []any) []string {
	list := make([]string, len(values))
	for i, value := range values {
		list[i] = value.(string)
	}
	return list
}
