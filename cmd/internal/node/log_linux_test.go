package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// unread runs the program with a pipe for its log, of which only the first line is read.
func unread(t *testing.T, size int) (program *exec.Cmd, log *os.File, where listening) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, writer.Fd(), setPipeSize, uintptr(size)); errno != 0 {
		t.Fatal(errno)
	}
	program = exec.Command(os.Args[0], freePorts...)
	program.Env = append(os.Environ(), asMain+"=1")
	program.Stderr = writer
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	late := time.AfterFunc(5*deadline, func() { _ = program.Process.Kill() })
	t.Cleanup(func() { late.Stop() })
	return program, reader, firstListening(t, reader)
}

// flood makes the program log more than its pipe takes.
func flood(t *testing.T, where listening) *edgetest.Peer {
	t.Helper()
	edgetest.Eventually(t, "the program is ready", func() bool {
		status, _ := ask(t, "GET", "http://"+where.Admin+"/readyz")
		return status == http.StatusOK
	})
	nc := edgetest.NewPeer(t, where.NATS)
	for n := range 900 {
		for _, subject := range []string{"sio._.join.all", fmt.Sprint("sio._.join.room.", n)} {
			nc.Publish(subject, `{broken`)
		}
	}
	nc.Flush()
	return nc
}

// A log that is not read delays neither deliveries nor the end.
func TestALogThatIsNotRead(t *testing.T) {
	t.Parallel()
	program, _, where := unread(t, 4096)
	client := enginetest.Dial(t, enginetest.NewConversation(t), "ann", "http://"+where.Address, nil)
	client.Connect("/", "")
	nc := flood(t, where)
	nc.Publish("sio._.emit.all", `["news"]`)
	client.Expect(`42["news"]`)
	client.Hangup()
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it did not end in order: %v", err)
	}
}

// Queued lines are written at the end.
func TestTheLastLinesAreWritten(t *testing.T) {
	t.Parallel()
	program, log, where := unread(t, 4096)
	flood(t, where)
	edgetest.Eventually(t, "the program has taken all of it", func() bool {
		_, text := ask(t, "GET", "http://"+where.Admin+"/metrics")
		return strings.Contains(text, `partyline_dropped_total{reason="bad body"} 1800`)
	})
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it did not end in order: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if n := bytes.Count(text, []byte("dropped a message")); n < 100 || !bytes.Contains(text, []byte(`"msg":"stopping"`)) {
		t.Errorf("there are %d lines, %d of them about bad publishes; the last is %s", len(lines), n, lines[len(lines)-1])
	}
}

// Nor does a reader that has gone end the program.
func TestALogWhoseReaderHasGone(t *testing.T) {
	t.Parallel()
	program, log, where := unread(t, 4096)
	log.Close()
	client := enginetest.Dial(t, enginetest.NewConversation(t), "ann", "http://"+where.Address, nil)
	client.Connect("/", "")
	nc := flood(t, where)
	nc.Publish("sio._.emit.all", `["news"]`)
	client.Expect(`42["news"]`)
	lost := func() bool {
		_, text := ask(t, "GET", "http://"+where.Admin+"/metrics")
		return strings.Contains(text, "partyline_log_lines_lost_total ") &&
			!strings.Contains(text, "partyline_log_lines_lost_total 0\n")
	}
	edgetest.Eventually(t, "lines are counted as lost", lost)
	client.Hangup()
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it did not end in order: %v", err)
	}
}
