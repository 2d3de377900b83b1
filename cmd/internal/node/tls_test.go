package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// secured are a certificate in files, and the arguments that name them.
type secured struct {
	edgetest.Certificate
	config.TLS
	args []string
}

func newSecured(t *testing.T, lasts time.Duration) secured {
	t.Helper()
	folder := t.TempDir()
	files := config.TLS{Cert: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.key")}
	s := secured{edgetest.NewCertificate(t, lasts), files, []string{"--tls.cert=" + files.Cert, "--tls.key=" + files.Key}}
	s.Write(t, files.Cert, files.Key)
	return s
}

// client returns a client that trusts the certificate and speaks HTTP/2.
func (s secured) client(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: deadline}
}

// request makes a request and returns the response, and its body.
func request(t *testing.T, c *http.Client, method, url, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

const pollingPath = "/socket.io/?EIO=4&transport=polling"

// begin opens a session over polling, and returns the URL of its further requests.
func begin(t *testing.T, c *http.Client, base string) string {
	t.Helper()
	response, open := request(t, c, "GET", base+pollingPath, "")
	if response.ProtoMajor != 2 {
		t.Errorf("polling over %s", response.Proto)
	}
	sid, _, _ := strings.Cut(strings.TrimPrefix(open, `0{"sid":"`), `"`)
	return base + pollingPath + "&sid=" + sid
}

// upgrade moves a session to a WebSocket.
func (s secured) upgrade(t *testing.T, session string) {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: s.Pool, NextProtos: []string{"http/1.1"}}} // as browsers do
	url := strings.NewReplacer("https://", "wss://", "polling", "websocket").Replace(session)
	ws, _, err := dialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(deadline))
	for _, step := range []struct{ send, want string }{{"2probe", "3probe"}, {"5", ""}, {"40", "40"}, {"9", ""}} { // 9 ends it
		if err := ws.WriteMessage(websocket.TextMessage, []byte(step.send)); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if _, got, err := ws.ReadMessage(); err != nil || !strings.HasPrefix(string(got), step.want) {
			t.Fatalf("after %q: %q, %v", step.send, got, err)
		}
	}
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
				t.Errorf("the WebSocket ended with %v instead of a close frame", err)
			}
			return
		}
	}
}

func TestTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := newSecured(t, time.Hour)
	where, stop := background(t, embedded, append(s.args, freePorts...)...)
	base, client := "https://"+where.Address, s.client(t)
	session := begin(t, client, base)
	if response, text := request(t, client, "POST", session, "40"); response.StatusCode != http.StatusOK || text != "ok" {
		t.Errorf("a POST brought %s %s", response.Status, text)
	}
	if _, text := request(t, client, "GET", session, ""); !strings.HasPrefix(text, `40{"sid":"`) {
		t.Errorf("a poll brought %s", text)
	}
	s.upgrade(t, begin(t, client, base))
	for path, want := range map[string]int{"/": 200, "/socket.io/x.js": 404, pollingPath + "&sid=x": 400} {
		if response, text := request(t, client, "GET", base+path, ""); response.StatusCode != want {
			t.Errorf("%s brought %s %s", path, response.Status, text)
		}
	}
	if response, text := request(t, client, "GET", "http://"+where.Address+"/", ""); response.StatusCode != 400 {
		t.Errorf("plain HTTP brought %s %s", response.Status, text)
	}
	if _, err := tls.Dial("tcp", where.Address, &tls.Config{RootCAs: s.Pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if status, _, errs := run(t, embedded, append(s.args, "--health", "--admin.listen="+where.Admin)...); status != program.ExitOK {
		t.Errorf("--health: %s", errs)
	}
	if _, text := request(t, http.DefaultClient, "GET", "http://"+where.Admin+"/metrics", ""); !strings.Contains(text, "\npartyline_tls_certificate_expiry_seconds 1") {
		t.Errorf("/metrics lacks the end of the certificate")
	}
	http.DefaultClient.CloseIdleConnections()
	client.CloseIdleConnections()
	if status := stop(); status != program.ExitOK {
		t.Errorf("status %d", status)
	}
}

// Edges with TLS for clients pass requests on to each other, over edges.listen.
func TestTLSOverSeveralEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s, nats := newSecured(t, time.Hour), natsdtest.Start(t).ClientURL()
	edge := func() listening {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		inner := l.Addr().String()
		_ = l.Close()
		where, _ := backgroundWith(t, edgeFlavour, []string{`PARTYLINE_NAMESPACES={"/":{"connect":"open"}}`}, append(s.args, freePorts[0], freePorts[1],
			"--nats.url="+nats, "--edges.listen="+inner, "--advertise=http://"+inner, "--edges.secret=s")...)
		edgetest.Eventually(t, "the edge is ready", func() bool {
			response, err := http.Get("http://" + where.Admin + "/readyz")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			return response.StatusCode == http.StatusOK
		})
		return where
	}
	a, b := edge(), edge()
	http.DefaultClient.CloseIdleConnections()
	client := s.client(t)
	other := func(session string) string { return strings.Replace(session, a.Address, b.Address, 1) }
	session := begin(t, client, "https://"+a.Address)
	edgetest.Eventually(t, "the other edge knows the session's", func() bool {
		_, text := request(t, client, "POST", other(session), "40")
		return text == "ok"
	})
	if _, text := request(t, client, "GET", other(session), ""); !strings.HasPrefix(text, `40{"sid":"`) {
		t.Errorf("a poll brought %s", text)
	}
	s.upgrade(t, other(begin(t, client, "https://"+a.Address)))
	client.CloseIdleConnections()
}

// The certificate follows its files, however they are replaced. Broken ones leave it as it is.
func TestCertificateFollowsItsFiles(t *testing.T) {
	root := t.TempDir()
	old, renewed := edgetest.NewCertificate(t, time.Hour), edgetest.NewCertificate(t, 48*time.Hour)
	for name, c := range map[string]edgetest.Certificate{"old": old, "new": renewed} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		c.Write(t, filepath.Join(root, name, "tls.crt"), filepath.Join(root, name, "tls.key"))
	}
	link := func(to string) { // as Kubernetes replaces files
		t.Helper()
		next := filepath.Join(root, "next")
		if err := os.Symlink(to, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(root, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("old")
	var log strings.Builder
	c, err := newCertificate(config.TLS{Cert: filepath.Join(root, "data", "tls.crt"), Key: filepath.Join(root, "data", "tls.key")},
		slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, want edgetest.Certificate, lines int, part string) {
		t.Helper()
		if got, _ := c.config().GetCertificate(nil); !got.Leaf.Equal(leaf(t, want)) {
			t.Errorf("%s: it is another certificate", what)
		}
		if n := strings.Count(log.String(), "\n"); n != lines || !strings.Contains(log.String(), part) {
			t.Errorf("%s: the log has %d lines, want %d and %q:\n%s", what, n, lines, part, log.String())
		}
		log.Reset()
	}
	c.look()
	expect("it ends within a day", old, 1, "the certificate expires")
	link("new")
	c.look()
	expect("a swapped link", renewed, 1, "the certificate was read again")
	c.look()
	expect("no change", renewed, 0, "")

	cert := filepath.Join(root, "new", "tls.crt")
	for name, data := range map[string][]byte{"no pair": old.Cert, "no certificate": []byte("x")} {
		if err := os.WriteFile(cert, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c.look()
		expect(name+", perhaps still being written", renewed, 0, "")
		c.look()
		expect(name, renewed, 1, "the one before stays")
		c.look()
		expect(name+", again", renewed, 0, "")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	c.look()
	c.look()
	expect("no file", renewed, 1, "no such file")
	link("old")
	c.look()
	expect("the old one again", old, 1, "read again")
	if n := c.failures.Value(); n < 3 {
		t.Errorf("%d failures", n)
	}
}

// leaf returns the certificate in a form that can be compared.
func leaf(t *testing.T, c edgetest.Certificate) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// The files are read while the program runs.
func TestCertificateIsWatched(t *testing.T) {
	s := newSecured(t, time.Hour)
	renewed := edgetest.NewCertificate(t, 48*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		c, err := newCertificate(s.TLS, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.watch(ctx)
		renewed.Write(t, s.TLS.Cert, s.TLS.Key)
		time.Sleep(reloadEvery)
		synctest.Wait()
		if n := c.reloads.Value(); n != 1 {
			t.Errorf("the certificate was read %d times again", n)
		}
	})
}
