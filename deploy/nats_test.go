package deploy_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"partyline/config"
	"partyline/subjects"
)

// natsOptions returns what NATS makes of nats.conf with compose.yaml's environment.
func natsOptions(t *testing.T) *server.Options {
	t.Helper()
	for name, value := range project(t, secrets(t)).Services["nats-1"].Environment {
		t.Setenv(name, *value)
	}
	options, err := server.ProcessConfigFile("nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// NATS asks everyone for a password: clients and other servers. What asks for none is in the container only.
func TestNATSAsksForPasswords(t *testing.T) {
	o := natsOptions(t)
	if o.NoAuthUser != "" || len(o.Users) == 0 || o.HTTPHost != "127.0.0.1" {
		t.Errorf("no_auth_user %q, %d users, monitoring at %q", o.NoAuthUser, len(o.Users), o.HTTPHost)
	}
	for _, u := range o.Users {
		if len(u.Password) < 40 || u.Permissions == nil || u.Permissions.Publish == nil || u.Permissions.Subscribe == nil {
			t.Errorf("the user %s has no password, or may do everything", u.Username)
		}
	}
	if o.Cluster.Username == "" || len(o.Cluster.Password) < 40 || len(o.Routes) != 3 {
		t.Errorf("routes: user %q, %d servers", o.Cluster.Username, len(o.Routes))
	}
	for _, route := range o.Routes {
		if password, _ := route.User.Password(); route.User.Username() != o.Cluster.Username || password != o.Cluster.Password {
			t.Errorf("the route to %s has other credentials", route.Host)
		}
	}
}

// bucket is what the example chat may do beyond the contract: its bucket of nicknames.
var bucket = []string{
	"$JS.API.INFO", "$JS.API.STREAM.INFO.SIO_LOG", // for EmitOnce
	"$KV.chat_names.>", "$JS.API.STREAM.*.KV_chat_names", "$JS.API.DIRECT.GET.KV_chat_names.>",
}

// NATS has the users of the contract, with /chat_room for /chat, the streams of recovery and the chat's bucket:
// nothing more, nothing less.
func TestPermissionsAreTheContracts(t *testing.T) {
	contract := regexp.MustCompile("(?ms)^```conf\n(.*?)^```$").FindAllStringSubmatch(read(t, "../docs/subjects.md"), -1)
	if len(contract) != 1 {
		t.Fatalf("the contract has %d configurations of nats-server, want one", len(contract))
	}
	documented := &server.Options{}
	text := strings.ReplaceAll(contract[0][1], `"sio.chat.`, `"sio.chat_room.`)
	if err := documented.ProcessConfigString(text); err != nil {
		t.Fatal(err)
	}
	sio, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	logPublish, logSubscribe := sio.LogPermissions()
	deployed := natsOptions(t)
	if at := slices.IndexFunc(deployed.Users, func(u *server.User) bool { return u.Username == "gateway" }); at < 0 {
		t.Error("the gateways have no user")
	} else {
		sameAsTheGateways(t, deployed.Users[at])
		deployed.Users = slices.Delete(deployed.Users, at, at+1)
	}
	if len(deployed.Users) != len(documented.Users) {
		t.Fatalf("%d users, the contract has %d", len(deployed.Users), len(documented.Users))
	}
	for i, want := range documented.Users {
		got := deployed.Users[i]
		publish, subscribe := &want.Permissions.Publish.Allow, &want.Permissions.Subscribe.Allow
		switch want.Username {
		case "edge":
			*publish, *subscribe = append(*publish, logPublish...), append(*subscribe, logSubscribe...)
			*publish = append(*publish, "sio.*.member.room.>", "sio.*.fetch.room.>") // to show who is in rooms
		case "chat":
			*publish = append(*publish, bucket...)
		}
		if got.Username != want.Username {
			t.Fatalf("user %d is %s, in the contract %s", i, got.Username, want.Username)
		}
		same(t, got.Username+" publishes", got.Permissions.Publish, want.Permissions.Publish)
		same(t, got.Username+" subscribes", got.Permissions.Subscribe, want.Permissions.Subscribe)
		if (got.Permissions.Response == nil) != (want.Permissions.Response == nil) {
			t.Errorf("%s: allow_responses differs", got.Username)
		}
	}
}

// sameAsTheGateways compares a user with the permissions for publishing in docs/how-to/http.md.
func sameAsTheGateways(t *testing.T, got *server.User) {
	t.Helper()
	_, text, _ := strings.Cut(read(t, "../docs/how-to/http.md"), "\nFor publishing to `/chat`")
	lists := regexp.MustCompile("(?ms)^```hcl\n(.*?)^```$").FindStringSubmatch(text)
	if lists == nil {
		t.Fatal("http.md has no permissions for publishing")
	}
	want := &server.Options{}
	conf := strings.ReplaceAll(lists[1], `"sio.chat.`, `"sio.chat_room.`)
	if err := want.ProcessConfigString("authorization {users: [{user: a, password: b, permissions: {" + conf + "}}]}"); err != nil {
		t.Fatal(err)
	}
	same(t, "gateway publishes", got.Permissions.Publish, want.Users[0].Permissions.Publish)
	same(t, "gateway subscribes", got.Permissions.Subscribe, want.Users[0].Permissions.Subscribe)
}

// same compares permissions, in any order.
func same(t *testing.T, what string, got, want *server.SubjectPermission) {
	t.Helper()
	for kind, lists := range map[string][2][]string{"allow": {got.Allow, want.Allow}, "deny": {got.Deny, want.Deny}} {
		slices.Sort(lists[0])
		slices.Sort(lists[1])
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s, %s:\n%q, want\n%q", what, kind, lists[0], lists[1])
		}
	}
}

// Every NATS server has room for what the edges keep, and for the chat's bucket. The edges of compose.yaml have the
// chat's namespace as its own configuration has it.
func TestEdgesKeepWhatWasSaid(t *testing.T) {
	of := func(flavour config.Flavour, file string) config.Config {
		loaded, err := config.Load(flavour, []string{"--config", file}, []string{"PARTYLINE_ADMIN_TOKEN=any"})
		if err != nil {
			t.Fatal(err)
		}
		return loaded.Config
	}
	c, room := of(config.FlavourEdge, "edge.yaml"), natsOptions(t).JetStreamMaxStore/2
	if want := of(config.FlavourEmbedded, "../examples/chat/partyline.yaml").Namespaces; !reflect.DeepEqual(c.Namespaces, want) {
		t.Errorf("the namespaces are %+v, those of the example %+v", c.Namespaces, want)
	}
	if c.LogAge() == 0 || c.Recovery.Replicas != 3 || c.Recovery.Bytes() > room {
		t.Errorf("the log is kept for %s by %d servers, with up to %d bytes of %d", c.LogAge(), c.Recovery.Replicas, c.Recovery.Bytes(), room)
	}
}
