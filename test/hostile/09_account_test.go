package hostile

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// narrowHouse is a configuration in which a session may cost 256 KiB. The rates are above what clients can send, and
// no time runs out on a slow machine, so that the memory is the limit that they reach.
const narrowHouse = `
engine: {max_payload: 65536, ping_interval: 10m}
connect_timeout: 10m
limits:
  queue_bytes: 131072
  session_bytes: 262144
  events_per_second: 1000000
  events_burst: 1000000
  bytes_per_second: 1000000000
namespaces:
  "/extra-*": {connect: open, rooms: ["*"]}
  "/door-*": {connect: service, connect_timeout: 10m}
`

// What the table in docs/how-to/operate.md promises of a process with narrowHouse, in bytes.
const (
	promisedIdle    = 32 << 10
	promisedSession = 256 << 10
	promisedProcess = 64 << 20
)

// miser is a client that makes the edge keep as much as it can.
type miser struct {
	name  string
	begin func(r *raw)       // what it does first
	more  func(i int) []byte // what it sends then, without end; nil for nothing
	http  func(i int) string // what it sends over a connection that is no WebSocket; %s is the path of its session
	crowd int                // 0: 200
	ends  bool               // its session is closed because of its memory
}

// long returns a name of the largest size.
func long(prefix string, session, i int) string {
	name := fmt.Sprintf("%s-%d-%d-", prefix, session, i)
	return name + strings.Repeat("x", 500-len(name))
}

// misers are all kinds of things that an edge keeps for a client. session is the number of the client.
func misers(session int) []miser {
	big := strings.Repeat("a", 30_000)
	enter := func(r *raw) {
		r.write(textFrame("40/extra-0,"))
		for !strings.HasPrefix(r.next(), "40/extra-0,") {
		}
	}
	return []miser{
		{name: "pings that are not read", ends: true, crowd: 20, begin: enter, more: func(int) []byte {
			b := textFrame(`42/extra-0,["x"]`) // or the pings would be cut
			for range 50 {
				b = frame(b, true, opPing, big[:125])
			}
			return b
		}},
		{name: "auth in many namespaces", ends: true, more: func(i int) []byte {
			return textFrame(fmt.Sprintf(`40/extra-%d,{"a":"%s"}`, i, big))
		}},
		{name: "auth that waits for a service", ends: true, more: func(i int) []byte {
			return textFrame(fmt.Sprintf(`40/door-%d,{"a":"%s"}`, i, big))
		}},
		{name: "long namespaces", ends: true, more: func(i int) []byte {
			return textFrame("40/" + long("extra", session, i) + ",")
		}},
		{name: "rooms with long names", ends: true, begin: enter, more: func(i int) []byte {
			return textFrame(fmt.Sprintf(`42/extra-0,["join","%s"]`, long("room", session, i)))
		}},
		{name: "refusals that are not read", ends: true, crowd: 20, more: func(i int) []byte {
			return textFrame(fmt.Sprintf("40/no-%d-%s,", i, big[:400]))
		}},
		{name: "joins whose answers are not polled", http: func(int) string {
			joins := strings.Repeat("\x1e"+`42/extra-0,1["join",1]`, 2000)[1:]
			return fmt.Sprintf("POST %%s HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n%s", len(joins), joins)
		}, ends: true},
		{name: "bodies that do not end", http: func(int) string {
			return "POST %s HTTP/1.1\r\nHost: edge\r\nContent-Length: 65000\r\n\r\n" + big + big
		}},
		{name: "large headers", http: func(i int) string {
			return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: edge\r\nX-%d: %s\r\n\r\n", polling, i, big[:15_000])
		}},
		{name: "attachments that do not all come", begin: func(r *raw) {
			enter(r)
			r.write(textFrame(`459-/extra-0,["x"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 9) + "]"))
			for range 8 {
				r.write(frame(nil, true, opBinary, big[:7000]))
			}
		}},
		{name: "a message that does not end", begin: func(r *raw) {
			r.write(frame(nil, false, opText, "4"+big))
			r.write(frame(nil, false, opMore, big))
		}},
		{name: "empty fragments", begin: func(r *raw) { r.write(frame(nil, false, opText, "4")) }, more: func(int) []byte {
			var b []byte
			for range 1000 {
				b = frame(b, false, opMore, "")
			}
			return b
		}},
	}
}

// rss returns the resident memory of a process, in bytes.
func (p *program) rss() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		p.t.Skip("no /proc: ", err)
	}
	found := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	kB, _ := strconv.Atoi(string(found[1]))
	return kB << 10
}

// watch calls look until the returned function is called.
func watch(look func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// A few hundred sessions of each kind cost no more than the table in docs/how-to/operate.md promises.
func TestWhatASessionMayCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	for kind, m := range misers(0) {
		t.Run(m.name, func(t *testing.T) {
			crowd := cmp.Or(m.crowd, 200)
			p := run(t, "edge", narrowHouse, "--nats.url="+natsdtest.Start(t).ClientURL())
			before, most := p.rss(), 0
			stop := watch(func() { most = max(most, p.rss()) })
			var clients sync.WaitGroup
			slots := make(chan struct{}, 50) // at once
			for i := range crowd {
				clients.Go(func() {
					slots <- struct{}{}
					if m.http != nil {
						p.send(misers(i)[kind].http(i))
						<-slots
						return
					}
					r := dialNarrow(t, p.URL)
					<-slots
					misers(i)[kind].work(r)
				})
			}
			clients.Wait()
			queueOverflows := func() int { return p.figure(`partyline_sessions_ended_total{reason="queue overflow"}`) }
			if m.ends {
				edgetest.Eventually(t, "all sessions are closed", func() bool { return queueOverflows() == crowd })
				// One that is being closed counts the packet that was too much until it has gone, and the figures are up
				// to a second old.
				edgetest.Eventually(t, "nothing counts any more", func() bool { return p.figure("partyline_session_bytes") == 0 })
			}
			sum, largest := p.figure("partyline_session_bytes"), p.figure("partyline_session_bytes_most")
			stop()
			promised := promisedProcess + 2*crowd*(promisedIdle+promisedSession)
			t.Logf("%d MB before, %d MB at most, %d MB are promised; %d sessions closed, %d kB counted at the end",
				before>>20, most>>20, promised>>20, queueOverflows(), sum>>10)
			if most > promised {
				t.Errorf("the process took %d bytes, %d are promised", most, promised)
			}
			if largest > promisedSession {
				t.Errorf("a session counted %d bytes", largest)
			}
		})
	}
}

// send opens a polling session with a socket, and sends a request with its path over a connection that stays open.
func (p *program) send(request string) {
	path := open(p.t, p.URL)
	_, err := body(http.Post(p.URL+path, "text/plain", strings.NewReader("40/extra-0,")))
	if err != nil || !strings.HasPrefix(get(p.t, http.DefaultClient, p.URL+path, http.StatusOK), "40/extra-0,{") {
		p.t.Error("no socket: ", err)
		return
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		p.t.Error(err)
		return
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, strings.Replace(request, "%s", path, 1))
}

// work does what the miser does, until it cannot send any more or has sent much.
func (m miser) work(r *raw) {
	if m.begin != nil {
		m.begin(r)
	}
	if m.more == nil {
		return
	}
	for i, sent := 0, 0; sent < 16<<20; i++ {
		_ = r.conn.SetWriteDeadline(time.Now().Add(time.Minute)) // a session that ended may read no more
		n, err := r.conn.Write(m.more(i))
		if sent += n; err != nil {
			return
		}
	}
}
