package engine

import (
	"partyline/wire/eio"
	"partyline/wire/ws"
)

// Frames without content are the same for all sessions.
var (
	pingFrame  = eio.NewPacket("2")
	noopFrame  = eio.NewPacket("6")
	probeFrame = eio.NewPacket("3probe")
	closeFrame = eio.NewControl(ws.Close, "")
)
