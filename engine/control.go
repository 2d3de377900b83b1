package engine

import "time"

// handleControl has pings and pongs of WebSocket handled as those of a session.
func (c *wsConn) handleControl() {
	c.ws.SetPingHandler(c.pong)
	c.ws.SetPongHandler(c.control)
}

// control counts a control frame. gorilla goes on reading behind it, so it waits here while the session is not read.
func (c *wsConn) control(data string) error {
	c.reader.raw -= controlHead + int64(len(data)) // the rates bound it
	s, now := c.session, time.Now()
	c.lockIn()
	s.received(len(data), now)
	s.takeTurn(len(data), now)
	s.in.Unlock()
	c.waitAtGate()
	return nil
}

// pong queues the answer to a ping of WebSocket. A client that pings and does not read overflows its queue.
func (c *wsConn) pong(data string) error {
	c.session.Send(controlFrame(wsPong, data))
	return c.control(data)
}
