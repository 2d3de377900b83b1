// Package backend is the Go way to write a service for Socket.IO clients behind Partyline's edges: handlers for their
// events, emits to rooms and sockets, acks both ways. It speaks the public contract (docs/subjects.md) over the
// caller's own NATS connection, and holds no client's connection itself.
//
//	io, err := backend.New(nc, "chat")
//	chat := io.Of("/chat")
//	chat.On("message", func(s *backend.Socket, text string) error {
//		return chat.To("room").Emit("message", s.ID(), text)
//	})
//	err = io.Start(ctx)
//	…
//	err = io.Close(ctx)
//
// # Two ways to handle events
//
// By default, every event goes to any instance of the service's group, and an instance keeps nothing of a socket. The
// events of one socket may be handled by several instances at the same time; state belongs into Socket.SetData or a
// database.
//
// With Owned, the instance that admits a socket receives all of its events, in the order sent, and may keep state for
// it: the closures of Socket.On, as Socket.IO code does. When an instance leaves (Service.Close) the edges hold the
// events of its sockets until another one has taken them over; nothing is lost, and no client notices. When it dies,
// what was sent to it in its last seconds is lost.
//
// # Clients that come back
//
// Where the edges' configuration has recovery, a client that comes back in time has the same socket, and gets all
// events that it missed. OnDisconnect runs when the connection breaks, and OnConnection when the client is back, with
// Socket.Recovered; an instance that does not own the socket may see them in the other order. In such a namespace an
// ack may overtake events that were emitted before it: what must come behind them is an event, too.
//
// # What clients may do
//
// The edges' configuration says which rooms clients may enter by themselves; they may emit every event.
// Socket.SetGrant and Target.SetGrant say it for single sockets, and for how long; in middleware, the client is
// connected with it.
//
// # What waits, and what does not
//
// Emit, and everything else without a context, hands a message to NATS and returns. What has a context waits for
// answers: of edges (Join, Fetch, …), of clients (EmitWithAck), of services. Nothing is kept to be sent later: without
// NATS, everything fails with Offline.
//
// The handlers of one socket run one after the other, on goroutines of this package, those of different sockets side
// by side. A handler that waits delays the further events of its socket, and no others. Queues are bounded, see
// Limits: the client of a socket that has much waiting is slowed down. A handler that panics is reported, and nothing
// else happens. A client whose arguments do not fit a handler gets an error as its ack, and an event without a handler
// is counted (Stats.Unhandled).
//
// # Errors
//
// Failures have a Code, compared with errors.Is: errors.Is(err, backend.UnknownSocket). What is wrong with the program
// itself, such as a handler whose form is none or that comes after Start, panics when it is registered, as in
// net/http.
package backend
