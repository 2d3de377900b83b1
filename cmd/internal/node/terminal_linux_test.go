package node

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openTerminal returns both ends of a pseudo-terminal: ours, and that of a program.
func openTerminal(t *testing.T) (ours, its *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	var unlock, number int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, ours.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	if its, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return ours, its
}

// A person who starts the program gets an address to click and a command, behind the log's line for machines.
func TestATerminalGetsTwoLinesMore(t *testing.T) {
	ours, its := openTerminal(t)
	program := exec.Command(os.Args[0], freePorts...)
	program.Env = append(os.Environ(), asMain+"=1")
	program.Stderr = its
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	_ = its.Close()
	late := time.AfterFunc(deadline, func() { _ = program.Process.Kill() })
	defer late.Stop()
	text := ""
	want := regexp.MustCompile(`(?s)msg=listening .*Open http://localhost:\d+/ in two tabs.*\n  nats -s nats://127\.0\.0\.1:\d+ ` +
		`pub sio\.chat_room\.emit\.room\.room '\["message","hello from NATS"\]'`)
	for lines := bufio.NewReader(ours); !want.MatchString(text); {
		line, err := lines.ReadString('\n')
		if text += line; err != nil {
			t.Fatalf("%v; it wrote\n%s", err, text)
		}
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Error(err)
	}
}
