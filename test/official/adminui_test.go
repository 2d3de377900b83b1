package official

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"partyline/internal/natsd/natsdtest"
)

// TestAdminUI opens the Admin UI of a gateway in a browser while three edges have sockets, and kills one of them.
func TestAdminUI(t *testing.T) {
	t.Parallel()
	needScripts(t)
	environment := needUI(t)
	// With the race detector, a hash of the command user takes many seconds.
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	users := filepath.Join(t.TempDir(), "users")
	if err == nil {
		err = os.WriteFile(users, fmt.Appendf(nil, "ann:%s\n", hash), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	nats, page := natsdtest.Start(t).ClientURL(), freeAddress(t)
	var edges []*program
	var addresses []string
	for range 3 {
		address := freeAddress(t)
		edges = append(edges, start(t, "edge", "--config="+filepath.Join("testdata", "admin.yaml"), "--listen="+address, "--advertise=http://"+address,
			"--edges.secret=5ecret", "--cors.origins=http://"+page, "--nats.url="+nats))
		addresses = append(addresses, "http://"+address)
	}
	for _, e := range edges {
		e.ready(t, len(edges))
	}
	start(t, "gateway", "--gateway.listen="+page, "--ui.users_file="+users, "--ui.readonly=false", "--ui.url="+addresses[0],
		"--edges.secret=5ecret", "--nats.url="+nats)
	killer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := edges[2].end(syscall.SIGKILL); err != nil {
			http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(killer.Close)
	runScript(t, "../browser/cluster/admin.test.mjs", append(environment, "PARTYLINE_URL="+addresses[0], "PARTYLINE_NATS="+nats,
		"PARTYLINE_CONTROL="+killer.URL, "PARTYLINE_EDGES="+strings.Join(addresses, ","), "PARTYLINE_UI=http://"+page)...)
}

// TestAdminUIInside opens that of cmd/embedded.
func TestAdminUIInside(t *testing.T) {
	t.Parallel()
	needScripts(t)
	environment := needUI(t)
	page := freeAddress(t)
	start(t, "embedded", "--listen="+freeAddress(t), "--gateway.listen="+page).run(t, "../browser/cluster/inside.test.mjs",
		append(environment, "PARTYLINE_UI=http://"+page)...)
}

// needUI is needBrowser for the Admin UI.
func needUI(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat("../../gateway/adminui/pages/VERSION"); err != nil {
		leaveOut(t, "the tests of the Admin UI need its pages in gateway/adminui/pages; run `make client`")
	}
	return needBrowser(t)
}
