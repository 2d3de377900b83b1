package docs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/test/stand"
)

// client is the address of a proxied client in these tests. Proxies connect to edges from 127.0.0.1.
const client = "127.0.0.3"

// deploy is the page with the examples of proxies.
const deploy = "how-to/deploy.md"

// proxy is a program with an example of that page.
type proxy struct {
	name    string
	program string
	command []string // FILE is its configuration
	// config completes the example. It listens at a port of 127.0.0.1, with TLS if pem is not "", and forwards to an
	// edge.
	config func(example, port, pem, edge, folder string) string
}

var haproxyServer = regexp.MustCompile(`(server edge-\d) \S+`)

var haproxy = proxy{"haproxy", "haproxy", []string{"-db", "-f", "FILE"}, func(example, port, pem, edge, _ string) string {
	if pem != "" {
		pem = " ssl crt " + pem
	}
	return "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\nfrontend front\n  bind 127.0.0.1:" + port + pem +
		"\n  default_backend edges\n" + haproxyServer.ReplaceAllString(example, "$1 "+edge)
}}

var nginx = proxy{"nginx", "nginx", []string{"-e", "stderr", "-c", "FILE"}, func(example, port, pem, edge, folder string) string {
	text := "daemon off;\nworker_processes 1;\nerror_log stderr;\npid FOLDER/pid;\nevents {}\nhttp {\n  access_log off;\n"
	if os.Getuid() == 0 {
		text = "user root;\n" + text
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += "  " + kind + "_temp_path FOLDER/" + kind + ";\n"
	}
	text += "  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n  upstream edges { server EDGE; }\n  server {\n    listen 127.0.0.1:PORT"
	if pem != "" {
		text += " ssl;\n    ssl_certificate " + pem + ";\n    ssl_certificate_key " + pem
	}
	return strings.NewReplacer("FOLDER", folder, "EDGE", edge, "PORT", port).Replace(text) + ";\n" + example + "  }\n}\n"
}}

var caddyServers = regexp.MustCompile(`10\.\S+:\d+ 10\.\S+:\d+`)

var caddy = proxy{"Caddy", "caddy", []string{"run", "--adapter", "caddyfile", "--config", "FILE"}, func(example, port, pem, edge, _ string) string {
	site := "http://localhost:" + port + " {"
	if pem != "" {
		site = "https://localhost:" + port + " {\n  tls " + pem + " " + pem
	}
	return "{\n  admin off\n  auto_https off\n}\n" + caddyServers.ReplaceAllString(strings.Replace(example, "chat.example {", site, 1), edge)
}}

// TestProxies runs each example of a proxy, with a page of its own origin on an unusual port, with TLS and without. It
// is in front of an edge that trusts it, and of one that does not.
func TestProxies(t *testing.T) {
	var left []string
	for _, example := range []struct {
		proxy
		language string
	}{{nginx, "nginx"}, {haproxy, "haproxy"}, {caddy, "caddyfile"}} {
		if _, err := exec.LookPath(example.program); err != nil {
			left = append(left, example.program)
			continue
		}
		for i, b := range blocks(t, deploy, example.language) {
			for _, secure := range []bool{false, true} {
				// The later example, on session affinity, leaves the headers to the earlier one.
				knows := i == 0
				t.Run(fmt.Sprintf("%s, line %d, TLS %t", example.name, b.line, secure), func(t *testing.T) {
					for _, trusted := range []bool{false, true} {
						tryProxy(t, example.proxy, b.text, secure, trusted, knows)
					}
				})
			}
		}
	}
	if left != nil {
		t.Skipf("LEFT OUT: the examples of proxies in docs/"+deploy+": install %s (Debian: apt-get install nginx-light haproxy caddy)", strings.Join(left, ", "))
	}
}

// tryProxy runs one proxy and connects through it.
func tryProxy(t *testing.T, p proxy, example string, secure, trusted, knowsScheme bool) {
	t.Helper()
	url := natsdtest.Start(t).ClientURL()
	o := edgetest.Options{NATS: url}
	if trusted {
		o.Trusted = []string{"127.0.0.1"}
	}
	n := edgetest.Start(t, o).Ready()
	notices, err := edgetest.Connect(t, url).SubscribeSync("sio._.on.connect")
	if err != nil {
		t.Fatal(err)
	}
	host, pem := startProxy(t, p, example, secure, strings.TrimPrefix(n.URL, "http://"))
	v := visitor{host: host, dialer: &websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pem}, NetDialContext: dialAs(client)}}
	v.page, v.other = "http://"+host, "https://"+host
	if secure {
		v.page, v.other = v.other, v.page
	}
	edgetest.Eventually(t, "the proxy answers", func() bool { return v.status(t, "") == http.StatusOK })

	for _, origin := range []string{v.page, strings.Replace(v.page, "http", "ws", 1)} { // the second: a native client
		if status := v.status(t, origin); status != http.StatusOK {
			t.Errorf("trusted %t: polling of %s is answered with %d", trusted, origin, status)
		}
		ws, _, err := v.dial(origin)
		if err != nil {
			t.Errorf("trusted %t: a WebSocket of %s: %v", trusted, origin, err)
			continue
		}
		got := noticeOf(t, ws, notices)
		want := heard{Address: "127.0.0.1"}
		if trusted {
			want = heard{Address: client, Secure: secure && knowsScheme}
			if p.name == "Caddy" {
				want.Secure = secure
			}
		}
		if want.Headers.Host = host; got != want {
			t.Errorf("trusted %t: a service receives %+v, want %+v", trusted, got, want)
		}
		_ = ws.Close()
	}
	refused := []string{"https://evil.example", "http://localhost:1", v.page + "1"}
	if trusted && knowsScheme {
		refused = append(refused, v.other)
	}
	for _, origin := range refused {
		if status := v.status(t, origin); status != http.StatusForbidden {
			t.Errorf("trusted %t: polling of %s is answered with %d", trusted, origin, status)
		}
		if ws, answer, err := v.dial(origin); err == nil || answer == nil || answer.StatusCode != http.StatusBadRequest {
			t.Errorf("trusted %t: a WebSocket of %s: %v, %v", trusted, origin, answer, err)
			if err == nil {
				_ = ws.Close()
			}
		}
	}
}

// heard is what services receive about a client in a notice.
type heard struct {
	Address string
	Secure  bool
	Headers struct{ Host string }
}

// noticeOf connects to the main namespace and reads the notice.
func noticeOf(t *testing.T, ws *websocket.Conn, notices *nats.Subscription) (h heard) {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
		t.Fatal(err)
	}
	m, err := notices.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var body []json.RawMessage
	if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 2 || json.Unmarshal(body[1], &h) != nil {
		t.Fatalf("the notice is %s", m.Data)
	}
	return h
}

// visitor is a client in front of a proxy.
type visitor struct {
	host        string // of the page
	page, other string // the page's origin, and the same with another scheme
	dialer      *websocket.Dialer
}

// status requests a session by polling, with an Origin unless it is "". It returns 0 without an answer.
func (v visitor) status(t *testing.T, origin string) int {
	t.Helper()
	scheme, _, _ := strings.Cut(v.page, "://")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+v.host+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	transport := &http.Transport{DialContext: v.dialer.NetDialContext, TLSClientConfig: v.dialer.TLSClientConfig.Clone(), DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func (v visitor) dial(origin string) (*websocket.Conn, *http.Response, error) {
	scheme, _, _ := strings.Cut(v.page, "://")
	return v.dialer.Dial(strings.Replace(scheme, "http", "ws", 1)+"://"+v.host+"/socket.io/?EIO=4&transport=websocket", http.Header{"Origin": {origin}})
}

// dialAs connects to 127.0.0.1 from another loopback address.
func dialAs(address string) func(ctx context.Context, network, to string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, "127.0.0.1:"+port)
	}
}

// startProxy runs a proxy until the test ends. It returns the host of its pages and the CA of its certificate.
func startProxy(t *testing.T, p proxy, example string, secure bool, edge string) (host string, authority *x509.CertPool) {
	t.Helper()
	folder := t.TempDir()
	port := strconv.Itoa(stand.FreePorts(t, 1)[0])
	pemFile := ""
	if secure {
		pemFile = filepath.Join(folder, "localhost.pem")
		made := edgetest.NewCertificate(t, time.Hour)
		writeFile(t, pemFile, string(made.Cert)+string(made.Key))
		authority = made.Pool
	}
	file := filepath.Join(folder, "config")
	writeFile(t, file, p.config(example, port, pemFile, edge, folder))
	var log strings.Builder
	args := strings.Split(strings.ReplaceAll(strings.Join(p.command, "\n"), "FILE", file), "\n")
	program := exec.Command(p.program, args...)
	program.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // nginx has worker processes
	program.Stdout, program.Stderr = &log, &log
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// First a signal, so that nginx ends its own processes, then a kill of the rest.
		_ = program.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-program.Process.Pid, syscall.SIGKILL) })
		_ = program.Wait()
		if late.Stop(); t.Failed() {
			t.Logf("%s says:\n%s", p.name, log.String())
		}
	})
	return "localhost:" + port, authority
}
