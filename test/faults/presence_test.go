package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// shownRooms are those of viewers.
var shownRooms = []string{"a", "b.c", "d e"}

// viewer is a client that is in rooms, and knows who else is. It reconnects by itself, to another edge if its own is
// away.
type viewer struct {
	name  string
	edges []*stand.Edge
	home  int
	over  <-chan struct{}

	mu       sync.Mutex
	conn     *websocket.Conn            // guarded by mu; nil while it is away
	id       string                     // guarded by mu
	wants    map[string]bool            // guarded by mu: the rooms
	in       map[string]bool            // guarded by mu: those that it has entered
	pictures map[string]map[string]bool // guarded by mu: by room that it has the list of
	amiss    []string                   // guarded by mu: what must not come
}

// live stays connected until over.
func (v *viewer) live() {
	for attempt := 0; ; attempt++ {
		v.visit(v.edges[(v.home+attempt)%len(v.edges)].Address)
		select {
		case <-v.over:
			return
		case <-time.After(reconnectionDelay/2 + rand.N(reconnectionDelay)):
		}
	}
}

// visit is one connection.
func (v *viewer) visit(address string) {
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return
	}
	v.mu.Lock()
	v.conn, v.in, v.pictures = conn, map[string]bool{}, map[string]map[string]bool{}
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.conn, v.id = nil, ""
		v.mu.Unlock()
		conn.Close()
	}()
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		v.mu.Lock()
		v.take(string(data))
		v.mu.Unlock()
	}
}

// take takes a frame. mu must be held.
func (v *viewer) take(frame string) {
	var hello struct{ SID string }
	var news struct {
		Room                  string
		Joined, Left, Members []struct{ ID string }
	}
	connected, isConnect := strings.CutPrefix(frame, "40/team,")
	event, isEvent := strings.CutPrefix(frame, `42/team,["partyline:presence",`)
	ack, isAck := strings.CutPrefix(frame, "43/team,")
	switch {
	case frame[0] == '0':
		v.write("40/team,")
	case frame == "2":
		v.write("3")
	case isConnect && json.Unmarshal([]byte(connected), &hello) == nil:
		v.id = hello.SID
		for room, wants := range v.wants {
			if wants {
				v.join(room)
			}
		}
	case isEvent && json.Unmarshal([]byte(strings.TrimSuffix(event, "]")), &news) == nil:
		if picture := v.pictures[news.Room]; picture != nil {
			for _, m := range news.Joined {
				picture[m.ID] = true
			}
			for _, m := range news.Left {
				delete(picture, m.ID)
			}
		}
	case isAck:
		number, body, _ := strings.Cut(ack, "[")
		n, _ := strconv.Atoi(number)
		room := shownRooms[n%10]
		_ = json.Unmarshal([]byte(strings.TrimSuffix(body, "]")), &news)
		switch {
		case n/10 == 1 && strings.Contains(body, "error"):
			v.amiss = append(v.amiss, frame)
		case n/10 == 1 && v.wants[room]: // it has entered
			v.in[room] = true
			v.write(fmt.Sprintf(`42/team,%d["partyline:presence",%q]`, 20+n%10, room))
		case n/10 == 2 && news.Room == room:
			v.pictures[room] = map[string]bool{}
			for _, m := range news.Members {
				v.pictures[room][m.ID] = true
			}
		case n/10 == 2:
			v.amiss = append(v.amiss, frame)
		}
	default:
		v.amiss = append(v.amiss, frame)
	}
}

func (v *viewer) write(frame string) { _ = v.conn.WriteMessage(websocket.TextMessage, []byte(frame)) }

// join enters a room. mu must be held.
func (v *viewer) join(room string) {
	v.write(fmt.Sprintf(`42/team,%d["join",%q]`, 10+slices.Index(shownRooms, room), room))
}

// toggle enters or leaves a room.
func (v *viewer) toggle(room string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.wants[room] = !v.wants[room]; v.conn == nil || v.id == "" {
		return
	}
	if v.wants[room] {
		v.join(room)
		return
	}
	delete(v.in, room)
	delete(v.pictures, room)
	v.write(fmt.Sprintf(`42/team,%d["leave",%q]`, 30+slices.Index(shownRooms, room), room))
}

// wrong returns what is different between the pictures of viewers and the truth, or "".
func wrong(viewers []*viewer) string {
	truth := map[string][]string{}
	for _, v := range viewers {
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.amiss) > 0 {
			return fmt.Sprintf("%s got %q", v.name, v.amiss)
		}
		for room, wants := range v.wants {
			if wants && (v.id == "" || !v.in[room] || v.pictures[room] == nil) {
				return v.name + " is not in " + room + " yet"
			} else if wants {
				truth[room] = append(truth[room], v.id)
			}
		}
	}
	var all []string
	for room, there := range truth {
		slices.Sort(there)
		for _, v := range viewers {
			if picture := slices.Sorted(maps.Keys(v.pictures[room])); v.in[room] && !slices.Equal(picture, there) {
				only := func(a, b []string) []string {
					return slices.DeleteFunc(slices.Clone(a), func(id string) bool { return slices.Contains(b, id) })
				}
				all = append(all, fmt.Sprintf("%s, %s, sees in %s also %q, and not %q", v.name, v.id, room, only(picture, there), only(there, picture)))
			}
		}
	}
	return strings.Join(all, "; ")
}

// Clients on three edges enter and leave three rooms. One edge after another is killed, and its clients come back to
// others. Each time all pictures are right 5 seconds later.
func TestPresenceAfterAnEdgeIsKilled(t *testing.T) {
	t.Parallel()
	runs := 3
	isAll := os.Getenv("PARTYLINE_TEST_ALL") == "1"
	if isAll {
		runs = 20
	}
	urls := stand.URLs(stand.Cluster(t, "--no_advertise"))
	var edges []*stand.Edge
	for i := range 3 {
		edges = append(edges, stand.StartEdge(t, fmt.Sprint("edge ", i), "--nats.url", urls, "--config", "testdata/presence.yaml"))
	}
	over := make(chan struct{})
	var living sync.WaitGroup
	var viewers []*viewer
	for i := range 24 {
		v := &viewer{name: fmt.Sprint("viewer ", i), edges: edges, home: i % 3, over: over, wants: map[string]bool{}}
		v.wants[shownRooms[i%2]] = true
		viewers = append(viewers, v)
		living.Go(v.live)
	}
	t.Cleanup(func() {
		close(over)
		for _, v := range viewers {
			v.mu.Lock()
			if v.conn != nil {
				v.conn.Close()
			}
			v.mu.Unlock()
		}
		living.Wait()
	})
	right := func() {
		t.Helper()
		var last string
		for end := time.Now().Add(edgetest.Patience); ; time.Sleep(10 * time.Millisecond) {
			if last = wrong(viewers); last == "" {
				return
			}
			if time.Now().After(end) {
				t.Fatal(last)
			}
		}
	}
	right()
	for run := range runs {
		edge := edges[run%3]
		for i := range 200 {
			if i == 100 {
				_ = edge.Kill(syscall.SIGKILL)
			}
			viewers[rand.IntN(len(viewers))].toggle(shownRooms[rand.IntN(3)])
		}
		began := time.Now()
		last := ""
		for end := began.Add(5 * time.Second); time.Now().Before(end); {
			if last = wrong(viewers); last == "" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if last != "" && isAll {
			t.Errorf("run %d: 5 seconds later %s", run, last)
		}
		right() // on a busy machine
		t.Logf("run %d: all pictures were right %v after the kill", run, time.Since(began).Round(time.Millisecond))
		edge.Restart(t)
	}
}
