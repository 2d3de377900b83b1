package node

import (
	"net/http"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// Without NATS an edge that is not alone refuses new sessions if services admit to all of its namespaces. Its
// existing sessions go on.
func TestNewSessionsWithoutNATS(t *testing.T) {
	const service, open = `PARTYLINE_NAMESPACES={"/":{},"/chat":{"connect":"service"}}`,
		`PARTYLINE_NAMESPACES={"/":{},"/chat":{"connect":"open"}}`
	for _, c := range []struct {
		name, namespaces, refuse string
		others                   int
		status                   int
	}{
		{"one of two edges", service, "auto", 1, http.StatusServiceUnavailable},
		{"the only edge", service, "auto", 0, http.StatusOK},
		{"an open namespace", open, "auto", 1, http.StatusOK},
		{"on", service, "on", 0, http.StatusServiceUnavailable},
		{"on, an open namespace", open, "on", 1, http.StatusOK},
		{"off", service, "off", 1, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := natsdtest.Start(t)
			args := append(freePorts[:2:2], "--nats.url="+server.ClientURL(), "--nats.refuse_sessions="+c.refuse)
			where, _ := backgroundWith(t, edgeFlavour, []string{c.namespaces}, args...)
			for range c.others {
				backgroundWith(t, edgeFlavour, []string{c.namespaces}, args...)
			}
			admin, handshake := "http://"+where.Admin, "http://"+where.Address+"/socket.io/?EIO=4&transport=polling"
			edgetest.Eventually(t, "all edges are there", func() bool {
				status, _ := ask(t, "GET", admin+"/readyz")
				_, edges := ask(t, "GET", admin+"/edges")
				return status == http.StatusOK && strings.Count(edges, `"edge":`) == 1+c.others
			})
			status, text := ask(t, "GET", handshake)
			if status != http.StatusOK {
				t.Fatalf("with NATS a handshake was answered %d %s", status, text)
			}
			_, sid, _ := strings.Cut(text, `"sid":"`)
			sid, _, _ = strings.Cut(sid, `"`)
			server.Stop()
			edgetest.Eventually(t, "NATS is away", func() bool { status, _ := ask(t, "GET", admin+"/readyz"); return status != http.StatusOK })
			response, err := http.Get(handshake)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			if isRefused := response.StatusCode == http.StatusServiceUnavailable; response.StatusCode != c.status ||
				isRefused != (response.Header.Get("Retry-After") != "") {
				t.Errorf("a handshake was answered %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
			}
			if response, err := http.Post(handshake+"&sid="+sid, "text/plain", strings.NewReader("40")); err != nil ||
				response.StatusCode != http.StatusOK {
				t.Errorf("a session that was there got %v, %v", response, err)
			} else {
				response.Body.Close()
			}
			http.DefaultClient.CloseIdleConnections()
			server.Restart()
			edgetest.Eventually(t, "a session can begin", func() bool { status, _ := ask(t, "GET", handshake); return status == http.StatusOK })
		})
	}
}
