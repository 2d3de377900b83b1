package node

import (
	"crypto/tls"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

var tlsCost = flag.Int("tls.cost", 0, "measure the memory of idle WebSockets over TLS, with that many of them")

// TestCostOfTLS measures the figure in docs/how-to/deploy.md:
//
//	go test ./cmd/internal/node -run CostOfTLS -v -tls.cost 5000
func TestCostOfTLS(t *testing.T) {
	if *tlsCost == 0 {
		t.Skip("only with -tls.cost")
	}
	s := newSecured(t, time.Hour)
	plain, secure := s.idleMemory(t, "ws://"), s.idleMemory(t, "wss://", s.args...)
	t.Logf("an idle WebSocket takes %.1f kB, over TLS %.1f kB", plain, secure)
}

// idleMemory returns what one of many idle WebSockets takes, in kB of the process's resident memory.
func (s secured) idleMemory(t *testing.T, scheme string, args ...string) float64 {
	t.Helper()
	program := exec.Command(os.Args[0], append(args, freePorts...)...)
	program.Env = append(os.Environ(), asMain+"=1")
	stderr, err := program.StderrPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Process.Signal(syscall.SIGTERM); _ = program.Wait() }()
	where := firstListening(t, stderr)
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: s.Pool}}
	before := residentMemory(t, where.Admin)
	for range *tlsCost {
		ws, _, err := dialer.Dial(scheme+where.Address+"/socket.io/?EIO=4&transport=websocket", nil)
		if err == nil {
			_, _, err = ws.ReadMessage()
		}
		if err == nil {
			err = ws.WriteMessage(websocket.TextMessage, []byte("40"))
		}
		if err == nil {
			_, _, err = ws.ReadMessage()
		}
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
	}
	time.Sleep(8 * time.Second) // package front returns memory within 2 seconds of calm
	return (residentMemory(t, where.Admin) - before) / 1000 / float64(*tlsCost)
}

func residentMemory(t *testing.T, admin string) float64 {
	t.Helper()
	_, page := request(t, http.DefaultClient, "GET", "http://"+admin+"/metrics", "")
	found := regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`).FindStringSubmatch(page)
	if found == nil {
		t.Fatal("no resident memory")
	}
	bytes, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
