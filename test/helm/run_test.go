package helm_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// TestPodsRun runs the programs of two pods with the files and variables that the chart gives them, at other ports, probes
// them as a kubelet and Prometheus do, and stops them. In the cluster NATS is elsewhere.
func TestPodsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("LEFT OUT: running what the chart renders takes seconds")
	}
	folder := t.TempDir()
	build := exec.Command("go", "build", "-C", "../..", "-o", folder+"/", "./cmd/edge", "./cmd/gateway")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	nats := natsdtest.Start(t).ClientURL()
	r := newRelease(t, readSet(t, "gateway"))
	for _, d := range all[*apps.Deployment](r) {
		p := newPod(t, r, d)
		program := string(flavour(d))
		flags := map[string][]string{
			"edge":    {"--listen=127.0.0.1:0", "--edges.listen=127.0.0.1:0", "--nats.token="},
			"gateway": {"--gateway.listen=127.0.0.1:0", "--ui.users_file="}, // the pages may not be built in
		}[program]
		args := append(append(p.args, "--admin.listen=127.0.0.1:0", "--nats.url="+nats), flags...)
		t.Run(program, func(t *testing.T) { runPod(t, p, filepath.Join(folder, program), args) })
	}
}

// runPod runs a program, probes it and stops it.
func runPod(t *testing.T, p pod, program string, args []string) {
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), p.environ...)
	lines, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	admin, logged, done := make(chan string, 1), make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		var log strings.Builder
		for s := bufio.NewScanner(lines); s.Scan(); {
			log.WriteString(s.Text() + "\n")
			var line struct{ Msg, Admin string }
			if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg == "listening" {
				admin <- line.Admin
			}
		}
		logged <- log.String()
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill() // if it still runs
		<-done
		if _ = command.Wait(); t.Failed() {
			t.Log(<-logged)
		}
	})
	var address string
	select {
	case address = <-admin:
	case <-done:
		t.Fatal("the program ends at once")
	case <-time.After(edgetest.Patience):
		t.Fatal("the program does not listen")
	}
	status := func(path, token string) int {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode
	}
	edgetest.Eventually(t, "the pod is ready", func() bool { return status(p.container.ReadinessProbe.HTTPGet.Path, "") == http.StatusOK })
	if got := status(p.container.LivenessProbe.HTTPGet.Path, ""); got != http.StatusOK {
		t.Errorf("the liveness probe gets %d", got)
	}
	if without, with := status("/metrics", ""), status("/metrics", "admin-5ecret"); without != http.StatusUnauthorized || with != http.StatusOK {
		t.Errorf("Prometheus gets %d without the token of the Secret, and %d with it", without, with)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(edgetest.Patience):
		t.Fatal("the program does not stop")
	}
	if err := command.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}
