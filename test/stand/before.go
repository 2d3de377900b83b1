package stand

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// firstBefore is the commit that stands for the version before v0.1.0.
const firstBefore = "3d3bd4822a315ab247a80d0f4ffa947939d57aad"

// before is the folder with the sources of the version before and, in bin, its edge and worker, built once. Its name
// is "" if this clone has no such commit.
var before = sync.OnceValues(func() (string, error) {
	commit := firstBefore
	if tag, err := exec.Command("git", "describe", "--tags", "--match", "v*", "--abbrev=0", "HEAD^").Output(); err == nil {
		commit = strings.TrimSpace(string(tag))
	}
	if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
		return "", nil
	}
	bin, err := programs() // Clean removes it
	if err != nil {
		return "", err
	}
	folder := filepath.Join(bin, "before")
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", err
	}
	unpack := exec.Command("sh", "-c", `mkdir "$2" && git archive "$1" >"$2.tar" && tar -x -C "$2" -f "$2.tar"`, "-", commit, folder)
	unpack.Dir = strings.TrimSpace(string(root))
	build := exec.Command("go", "build", "-o", "bin/", "./cmd/edge", "./test/deploy/worker")
	build.Dir = folder
	for _, step := range []*exec.Cmd{unpack, build} {
		if output, err := step.CombinedOutput(); err != nil {
			return "", fmt.Errorf("the version before (%s): %w\n%s", commit, err, output)
		}
	}
	return folder, nil
})

// Before returns the folder with the sources of the version before this one, and in bin its edge and worker. If the clone
// lacks the commit, as a shallow one does, the test is left out.
func Before(t *testing.T) string {
	t.Helper()
	folder, err := before()
	if err == nil && folder == "" {
		err = errors.New("this clone has no commit of it; fetch the history and the tags")
		if os.Getenv("PARTYLINE_TEST_ALL") != "1" {
			t.Skip("LEFT OUT: upgrades from the version before: ", err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
