package edgetest

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Patience is how long a test waits for an expected event. The machine may be busy, and an edge takes up to 15 s to
// notice a connection that is dead without having ended.
const Patience = 75 * time.Second

// SideBySide allows that many tests that call t.Parallel to run at once, unless -parallel is set. It is more than the
// number of processors, since most tests wait. It is for TestMain.
func SideBySide(tests int) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", strconv.Itoa(tests))
	}
}

// LongMain is TestMain of packages of whole programs and outages, which are not for `make check`. clean runs at the
// end.
func LongMain(m *testing.M, clean func(), options ...goleak.Option) {
	if flag.Parse(); testing.Short() {
		return
	}
	goleak.VerifyTestMain(cleaned{m, clean}, options...)
}

// cleaned is a testing.M that cleans up after its tests.
type cleaned struct {
	*testing.M
	clean func()
}

// Run runs the tests.
func (c cleaned) Run() int {
	if c.clean != nil {
		defer c.clean()
	}
	return c.M.Run()
}

// Eventually polls until a condition is true, and fails the test if that takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// ForRelease leaves a test out that compiles the programs once more, which takes a minute: `make test-release` runs it.
func ForRelease(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PARTYLINE_TEST_RELEASE") != "1" {
		t.Skipf("LEFT OUT: %s: make test-release", what)
	}
}

// Await waits for the next value of a channel.
func Await[T any](t testing.TB, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(Patience):
		t.Fatalf("nothing came within %s", Patience)
	}
	return got
}
