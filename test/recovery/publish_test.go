package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/test/recovery/judge"
)

const roomCount = 8

func room(n int) string { return fmt.Sprint("r", n) }

// traffic is what happens while faults come: publishers, and a service that moves sockets in and out of rooms.
type traffic struct {
	s        *stage
	received func(id string) judge.Pos // of the newest event that a socket's client has
	quiet    chan struct{}
	running  sync.WaitGroup
	moves    int
}

// publish starts three publishers at different servers, and the mover.
func (s *stage) publish(received func(id string) judge.Pos) *traffic {
	s.t.Helper()
	f := &traffic{s: s, received: received, quiet: make(chan struct{})}
	for i := range s.servers {
		nc := edgetest.Connect(s.t, s.servers[i].URL+","+s.servers[(i+1)%3].URL, nats.ReconnectBufSize(64<<20))
		f.running.Go(func() { f.run(i, nc) })
	}
	f.running.Go(f.move)
	s.t.Cleanup(f.hush)
	return f
}

// hush ends the traffic.
func (f *traffic) hush() {
	select {
	case <-f.quiet:
	default:
		close(f.quiet)
	}
	f.running.Wait()
}

func (f *traffic) run(publisher int, nc *nats.Conn) {
	ticker := time.NewTicker(time.Second / time.Duration(*rate))
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-f.quiet:
			_ = nc.FlushTimeout(edgetest.Patience)
			return
		case <-ticker.C:
			_ = nc.PublishMsg(f.event(publisher, n))
		}
	}
}

// event is the next event of a publisher. Its last argument is absent, a string, an object or an attachment.
func (f *traffic) event(publisher, n int) *nats.Msg {
	m := edgetest.Message("", "", "")
	m.Header = nats.Header{}
	name, verb := fmt.Sprint("p", publisher), "emit"
	here, socket := room(rand.IntN(roomCount)), f.s.service.socket()
	target := "room." + here
	switch dice := rand.IntN(100); {
	case dice < 5:
		target = "all"
	case dice < 30 && socket != "":
		target = "socket." + socket
	case dice < 40:
		target = "all"
		m.Header["Sio-Rooms"] = []string{here, room(rand.IntN(roomCount))}
		if dice < 35 {
			m.Header["Sio-Except"] = []string{room(rand.IntN(roomCount))}
		}
	case dice < 45 && socket != "":
		m.Header["Sio-Except"] = []string{socket}
	case dice < 50 && socket != "":
		target = "all"
		m.Header["Sio-Rooms"] = []string{here, socket}
	case dice < 53:
		m.Header["Sio-Volatile"] = []string{"true"}
	case dice < 55: // delivered live
		name, verb = fmt.Sprint("b", publisher), "broadcast"
		m.Reply = "sio.chat.emit.socket." + socket
	}
	m.Subject = "sio.chat." + verb + "." + target
	m.Data = fmt.Appendf(nil, `["e",%q,%d`, name, n)
	switch n % 8 {
	case 1, 2:
		m.Data = append(m.Data, `,"text"`...)
	case 3:
		m.Data = append(m.Data, `,{"n":1}`...)
	case 4:
		m.Data = append(m.Data, `,{"_placeholder":true,"num":0}`...)
		m.Header["Sio-Attachments"] = []string{"3"}
	}
	if m.Data = append(m.Data, ']'); n%8 == 4 {
		m.Data = append(m.Data, 1, 2, 3)
	}
	return m
}

// move lets sockets join and leave rooms. Whatever was answered counts.
func (f *traffic) move() {
	for {
		select {
		case <-f.quiet:
			return
		case <-time.After(100 * time.Millisecond):
		}
		id, where := f.s.service.socket(), room(rand.IntN(roomCount))
		if id == "" || f.s.service.roomsOf(id) == nil {
			continue
		}
		f.moves++
		f.s.moving.Lock()
		if span := f.s.service.in(id, where); span == nil {
			f.join(id, where)
		} else if span.SureTo == judge.Never && span.SureFrom != judge.Never {
			f.leave(id, where, span)
		}
		f.s.moving.Unlock()
	}
}

// join may take effect before what was published earlier is delivered (docs/subjects.md, The log), however much an edge
// lags that reads what it has missed.
func (f *traffic) join(id, where string) {
	before := f.received(id)
	span := &judge.Span{Room: where, From: before, SureFrom: judge.Never, SureTo: judge.Never, To: judge.Never}
	f.s.service.change(func() { f.s.service.spans[id] = append(f.s.service.spans[id], span) })
	changed, certain := f.ask("join", id, where)
	after := f.s.here()
	f.s.service.change(func() {
		switch {
		case changed:
			span.SureFrom = after
		case certain:
			span.To = before // it never was in it
		}
	})
}

func (f *traffic) leave(id, where string, span *judge.Span) {
	before := f.s.here()
	f.s.service.change(func() { span.SureTo = before })
	received, began := f.received(id), time.Now()
	changed, certain := f.ask("leave", id, where)
	if time.Since(began) > time.Second { // it may have overtaken events then
		f.s.service.change(func() { span.SureTo = received })
	}
	after := f.s.here()
	f.s.service.change(func() {
		switch {
		case changed:
			span.To = after
		case certain:
			span.SureTo = judge.Never
		}
	})
}

// ask reports whether a change was made, and whether that is certain.
func (f *traffic) ask(verb, id, where string) (changed, certain bool) {
	began := time.Now()
	var m *nats.Msg
	var err error
	defer func() {
		answer := fmt.Sprint(err)
		if err == nil {
			answer = m.Header.Get("Sio-Error") + string(m.Data)
		}
		f.s.service.change(func() {
			f.s.service.history[id] = append(f.s.service.history[id], fmt.Sprintf("%s %s %s: %s after %v",
				began.Format("05.000"), verb, where, answer, time.Since(began).Round(time.Millisecond)))
		})
	}()
	m, err = f.s.nc.Request("sio.chat."+verb+".socket."+id, fmt.Appendf(nil, `[%q]`, where), 5*time.Second)
	if err != nil { // without responders nobody has it
		return false, errors.Is(err, nats.ErrNoResponders)
	}
	if why := m.Header.Get("Sio-Error"); why != "" {
		return false, why == "unknown socket"
	}
	var answer []struct{ Sockets int }
	return json.Unmarshal(m.Data, &answer) == nil && len(answer) == 1 && answer[0].Sockets == 1, true
}
