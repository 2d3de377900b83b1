package load

import (
	"bytes"
	"fmt"
)

// handshake begins a session with polling. The connection is not reused: a balancer could send the next request
// elsewhere.
const handshake = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"

// cross has a client that began with polling upgrade to WebSocket: at every one of n servers equally often, as behind
// a balancer that takes each request to any of them. So one of n goes to the server of its session.
func (s *swarm) cross(c *client, data []byte) error {
	sid, ok := sessionID(data)
	if !ok {
		c.rest = append(c.rest[:0], data...)
		return nil
	}
	query := "&sid=" + string(sid)
	if err := s.hangUp(c); err != nil {
		return err
	}
	to := c.index / len(s.targets) % len(s.targets)
	return s.request(c, to, upgrading, fmt.Sprintf(upgrade, query, s.job.Addresses[to]))
}

// sessionID returns the session's id in the response to the handshake; ok is false while that is incomplete.
func sessionID(answer []byte) (sid []byte, ok bool) {
	_, rest, _ := bytes.Cut(answer, []byte(`"sid":"`))
	sid, _, ok = bytes.Cut(rest, []byte(`"`))
	return sid, ok
}
