package recovery

import (
	"cmp"
	"slices"
)

// maxPast bounds the rooms of a socket that are remembered after it has left them.
const maxPast = 100

// Places is where a socket is and was. Numbers are positions in the log: what is behind them came later. Enter makes
// the zero value ready.
type Places struct {
	Start   uint64            // when it entered the namespace; 0: it is not known
	Rooms   map[string]uint64 // by name as in subjects: when it entered each; 0: it is not known
	Past    []Span            // rooms that it has left lately
	Read    uint64            // up to here it has read in the log what it missed
	Renewed bool              // the log was made again since it entered
}

// Enter notes rooms that the socket is in from a position on, unless it is already. It returns how many are new.
func (p *Places) Enter(rooms []string, at uint64) (entered uint64) {
	if p.Rooms == nil {
		p.Rooms = make(map[string]uint64)
	}
	for _, room := range rooms {
		if _, in := p.Rooms[room]; !in {
			p.Rooms[room] = at
			entered++
		}
	}
	return entered
}

// LeaveOthers notes that at a position the socket is in some rooms alone.
func (p *Places) LeaveOthers(rooms []string, at uint64) {
	for room, since := range p.Rooms {
		if !slices.Contains(rooms, room) {
			delete(p.Rooms, room)
			p.Past = append(p.Past, Span{Room: room, From: since, To: at})
		}
	}
	p.Past = p.Past[max(0, len(p.Past)-maxPast):]
}

// Stays lists in which rooms the socket is and was: To is 0 where it is still.
func (p *Places) Stays() []Span {
	stays := slices.Clone(p.Past)
	for room, since := range p.Rooms {
		stays = append(stays, Span{Room: room, From: since})
	}
	return stays
}

// Lacks reports whether an event that comes behind later ones is for the socket: it was there when the event was
// published, in one of some rooms unless these are nil, and has not read it in the log.
func (p *Places) Lacks(seq uint64, rooms []string) bool {
	stays := p.Stays()
	return seq > max(p.Start, p.Read) && (rooms == nil || slices.ContainsFunc(rooms, func(room string) bool {
		return WasIn(stays, room, seq)
	}))
}

// Since sets what is not known.
func (p *Places) Since(position uint64) {
	p.Start = cmp.Or(p.Start, position)
	for room, since := range p.Rooms {
		p.Rooms[room] = cmp.Or(since, position)
	}
}

// Renew forgets all positions, because the log was made again.
func (p *Places) Renew() {
	p.Start, p.Read, p.Past, p.Renewed = 0, 0, nil, true
	for room := range p.Rooms {
		p.Rooms[room] = 0
	}
}
