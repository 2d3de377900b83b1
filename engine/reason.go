package engine

// Reason says why a session ended. It is the one value for it: the log field, the metric's label, and, in the words of
// the reference server, what services read in a disconnect notice.
type Reason uint8

// Why a session ends.
const (
	TransportClose    Reason = iota // the client or the network closed the connection
	TransportError                  // the client broke the transport's rules: overlapping polls, its own ping, broken frames
	PingTimeout                     // no answer to a heartbeat in time
	ParseError                      // a packet that Engine.IO does not know
	ForcedClose                     // a packet that Socket.IO cannot decode
	ForcedServerClose               // closed by the server: out of turn packets, no namespace in time, a service's wish
	QueueOverflow                   // the client did not read and its queue was full; no such thing in the reference
	ServerShutdown                  // the edge is leaving
	reasons
)

var reasonWords = [reasons]string{
	TransportClose:    "transport close",
	TransportError:    "transport error",
	PingTimeout:       "ping timeout",
	ParseError:        "parse error",
	ForcedClose:       "forced close",
	ForcedServerClose: "forced server close",
	QueueOverflow:     "queue overflow",
	ServerShutdown:    "server shutting down",
}

// String is the reference server's name of the reason.
func (r Reason) String() string {
	if r < reasons {
		return reasonWords[r]
	}
	return "unknown"
}
