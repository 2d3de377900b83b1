package embed

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"partyline"
	"partyline/backend"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

// patience bounds each wait. Test machines are slow.
const patience = time.Minute

// The page shows what is compiled and tried here, line by line.
func TestThePageHasThisCode(t *testing.T) {
	code, err := os.ReadFile("embed.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/how-to/embed.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```go\n// (?:net/http|Gin|Echo)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(found) != 3 {
		t.Fatalf("the page has %d routers", len(found))
	}
	for _, block := range found {
		for line := range strings.Lines(block[1]) {
			if !strings.Contains(string(code), "\t"+line) {
				t.Errorf("the page has %q, which is not tried here", line)
			}
		}
	}
}

// A client connects by polling, upgrades to WebSocket, talks, and its script comes from the server. Then the server
// shuts down.
func TestRouters(t *testing.T) {
	for name, router := range map[string]func(*partyline.Server) http.Handler{"net/http": netHTTP, "Gin": ginRouter, "Echo": echoRouter} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			srv, err := partyline.NewServer(partyline.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			chat := srv.Backend("chat")
			chat.Of("/").On("message", func(s *backend.Socket, text string) error { return s.Emit("message", text) })
			if err := chat.Start(ctx); err != nil {
				t.Fatal(err)
			}
			web := httptest.NewServer(router(srv))
			defer web.Close()
			talk(t, web.URL+"/socket.io/")
			if name != "net/http" {
				if body := get(t, web.URL+"/hello"); body != "hello" {
					t.Errorf("the program's own page: %q", body)
				}
			}
			if script := get(t, web.URL+"/socket.io/socket.io.js"); !strings.Contains(script, "Socket.IO") {
				t.Errorf("no script: %.100q", script)
			}
			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}

// talk opens a session by polling, connects, upgrades, and gets its message back.
func talk(t *testing.T, url string) {
	t.Helper()
	open := get(t, url+"?EIO=4&transport=polling")
	_, sid, _ := strings.Cut(open, `"sid":"`)
	sid, _, isOpen := strings.Cut(sid, `"`)
	if !isOpen {
		t.Fatalf("a handshake gets %q", open)
	}
	url += "?EIO=4&sid=" + sid + "&transport="
	response, err := http.Post(url+"polling", "text/plain", strings.NewReader("40"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if connect := get(t, url+"polling"); !strings.HasPrefix(connect, `40{"sid":"`) {
		t.Fatalf("a poll gets %q", connect)
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for _, step := range []struct{ send, want string }{{"2probe", "3probe"}, {"5", ""}, {`42["message","hello"]`, `42["message","hello"]`}} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(step.send)); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if _, frame, err := ws.ReadMessage(); err != nil || string(frame) != step.want {
			t.Fatalf("%s is answered %q, %v", step.send, frame, err)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
