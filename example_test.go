package partyline_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"partyline"
	"partyline/backend"
)

// A chat: clients of /chat_room send "message", and everyone in it receives it.
func ExampleNewServer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	srv, err := partyline.NewServer(partyline.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = srv.Shutdown(ctx) }()

	io := srv.Backend("chat")
	chat := io.Of("/chat_room", backend.Owned())
	chat.OnConnection(func(s *backend.Socket) {
		s.On("message", func(text string) error { return chat.Emit("message", text) })
	})
	if err := io.Start(ctx); err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	site := httptest.NewServer(mux) // in a program: http.ListenAndServe
	defer site.Close()
	talk(site.URL, "/chat_room", `["message","hello"]`)
	// Output: the client receives ["message","hello"]
}

// talk connects a client to a namespace, sends an event, and prints the first event that it receives.
func talk(url, namespace, event string) {
	ws, _, err := websocket.DefaultDialer.Dial("ws"+url[len("http"):]+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ws.Close()
	send := func(frame string) {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			log.Fatal(err)
		}
	}
	send("40" + namespace + ",")
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			log.Fatal(err)
		}
		if strings.HasPrefix(string(frame), "40"+namespace) {
			send("42" + namespace + "," + event)
		} else if text, isEvent := strings.CutPrefix(string(frame), "42"+namespace+","); isEvent {
			fmt.Println("the client receives", text)
			return
		}
	}
}
