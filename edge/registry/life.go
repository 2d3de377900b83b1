package registry

// Life is how far a socket has come. Only the registry changes it, with its lock held; anyone may read it.
//
//	Connecting ──▶ Deciding ──▶ Subscribing ──▶ Live ──▶ Gone
//	    │  (open namespace)  ▲       │                     ▲
//	    ├────────────────────┼───────┼─────────────────────┤
//	    └────────────────────┘       └─────────────────────┘
//	     refused, left, session ended: from every other life
type Life int32

const (
	// Connecting is a socket whose CONNECT has come. The subscriptions of its namespace have been asked for.
	Connecting Life = iota
	// Deciding is a socket about which a service is asked.
	Deciding
	// Subscribing is a socket that was admitted. It is a member of its namespace and rooms, and waits for the barrier
	// behind their subscriptions. Messages for it wait.
	Subscribing
	// Live is a socket whose client has its CONNECT.
	Live
	// Gone is a socket that was refused, has left, or whose session has ended.
	Gone
)

// IsMember reports whether a socket in this life is a member of its namespace: it was admitted and is there.
func (l Life) IsMember() bool { return l == Subscribing || l == Live }

// Life returns how far the socket has come. It takes no lock.
func (s *Socket[C]) Life() Life { return Life(s.life.Load()) }

// become changes the life of a socket if the picture has that arrow: all go forward, and Live is reached from
// Subscribing alone. mu must be held.
func (s *Socket[C]) become(to Life) bool {
	if was := s.Life(); to <= was || to == Live && was != Subscribing {
		return false
	}
	s.life.Store(int32(to))
	return true
}
