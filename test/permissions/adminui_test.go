package permissions

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"partyline/backend"
	"partyline/gateway/adminui"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// With the documented permissions a gateway shows the Admin UI, and changes nothing. NATS refuses it nothing that it needs.
func TestAdminUI(t *testing.T) {
	text, err := os.ReadFile("../../docs/subjects.md")
	if err != nil {
		t.Fatal(err)
	}
	lists := regexp.MustCompile("(?ms)^\\*\\*A gateway with the .*?```hcl\n(.*?)```$").FindStringSubmatch(string(text))
	if lists == nil {
		t.Fatal("the contract lists no permissions for the Admin UI")
	}
	gateway := "users: [\n{user: gateway, password: gateway-secret, permissions: {" + lists[1] + "}}\n"
	s := &stage{t: t, server: natsdtest.Start(t, strings.Replace(documented(t), "users: [", gateway, 1))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("edge"), Namespaces: map[string]rule.Namespace{
		"/admin": {Connect: rule.ConnectService, ConnectTimeout: rule.DefaultConnectTimeout}, "/chat": {Connect: rule.ConnectOpen},
	}}).Ready()
	u := s.as("gateway")
	service, err := backend.New(u.NC, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	ui, err := adminui.New(adminui.Options{Service: service, Loopback: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ui.Close)
	edgetest.Serve(t, service)
	ann, page := s.Enter("ann", "/chat"), s.Dial("page")
	page.Connect("/admin", "")
	for got := ""; !strings.HasPrefix(got, `42/admin,["all_sockets",[{`) && !strings.HasPrefix(got, `42/admin,["socket_connected",{`) || !strings.Contains(got, ann.ID); {
		got = page.Next()
	}
	u.unhindered()
	page.Send(`42/admin,["_disconnect","/chat",true]`)
	u.mayNot("publish", "sio.chat.disconnect.all")
}
