package hostile

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// Sessions that ended leave nothing behind: 5,000 of them in waves, over both transports. Some close properly, some
// are cut off, and each has its own room.
func TestMemoryComesBack(t *testing.T) {
	s := begin(t, brief)
	const waves, perWave = 10, 500
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: edgetest.Patience}
	wave := func(n int) {
		var clients sync.WaitGroup
		slots := make(chan struct{}, 8) // concurrent dials
		for i := range perWave {
			clients.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				if err := visit(client, s.URL, n*perWave+i); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		client.CloseIdleConnections()
		edgetest.Eventually(s.t, "the wave is gone", func() bool {
			return s.Engine.Sessions() == 2 && s.Edge.Sockets() == 2 && s.Figure("rooms", "") == 1 && s.subscriptions() < 50
		})
	}
	wave(0) // what is allocated once: pools, tables
	base := runtime.NumGoroutine()
	before := heap()
	for n := range waves {
		wave(1 + n)
	}
	edgetest.Eventually(s.t, "the goroutines are back", func() bool { return runtime.NumGoroutine() <= base+5 })
	edgetest.Eventually(s.t, "the memory is back", func() bool { return heap()-before < 2<<20 })
	t.Logf("after %d sessions: %d goroutines of %d, %+d kB", waves*perWave, runtime.NumGoroutine(), base, (heap()-before)/1000)
}

// visit is one session: it connects, enters a room, emits an event, and leaves in one of several ways.
func visit(client *http.Client, url string, i int) error {
	if i%4 == 0 {
		return visitByPolling(client, url, i)
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	for _, packet := range []string{"40/chat,", fmt.Sprintf(`42/chat,7["join","room-%d"]`, i), `42/chat,["message","hello"]`} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
			return err
		}
		if strings.HasPrefix(packet, "40") {
			err = hears(ws, `40/chat,{"sid"`, "")
		} else if strings.Contains(packet, "join") {
			err = hears(ws, `43/chat,7`, `[{"ok":true}]`)
		}
		if err != nil {
			return err
		}
	}
	switch i % 4 {
	case 1:
		return ws.WriteMessage(websocket.TextMessage, []byte("41/chat,"))
	case 2:
		return ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(edgetest.Patience))
	}
	return nil // without a close
}

func visitByPolling(client *http.Client, url string, i int) error {
	poll := url + "/socket.io/?EIO=4&transport=polling"
	open, err := body(client.Get(poll))
	if err != nil {
		return err
	}
	sid, _, _ := strings.Cut(strings.TrimPrefix(open, `0{"sid":"`), `"`)
	poll += "&sid=" + sid
	for _, packets := range []string{"40/chat,", fmt.Sprintf(`42/chat,7["join","room-%d"]`, i), "1"} {
		if _, err := body(client.Post(poll, "text/plain", strings.NewReader(packets))); err != nil {
			return err
		}
		if packets != "1" {
			if _, err := body(client.Get(poll)); err != nil {
				return err
			}
		}
	}
	return nil
}
