// Package deploy_test checks the deployment of compose.yaml without a Docker engine: what its containers may do, where
// its secrets come from, and what NATS grants to its users. `make test-compose` runs it.
package deploy_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
)

const composeFile = "../compose.yaml"

// read returns a file's text.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// script runs a script of this folder, and returns what it prints.
func script(t *testing.T, environment []string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", args...)
	command.Env = append(os.Environ(), environment...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// variables returns the lines of a .env file.
func variables(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			found[name] = value
		}
	}
	return found
}

// secrets returns what `make secrets` writes.
func secrets(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if out, err := script(t, nil, "secrets.sh", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return variables(read(t, file))
}

func load(t *testing.T, environment map[string]string) (*types.Project, error) {
	t.Helper()
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: "..", ConfigFiles: types.ToConfigFiles([]string{composeFile}), Environment: maps.Clone(environment),
	}, loader.WithProfiles([]string{"*"}), func(o *loader.Options) { o.SetProjectName("partyline", true) })
}

func project(t *testing.T, environment map[string]string) *types.Project {
	t.Helper()
	p, err := load(t, environment)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Services) < 11 {
		t.Fatalf("compose.yaml has %d services with all profiles", len(p.Services))
	}
	return p
}

// Every container of every profile is confined.
func TestContainersAreConfined(t *testing.T) {
	for name, s := range project(t, secrets(t)).Services {
		if !regexp.MustCompile(`^[1-9]\d*:\d+$`).MatchString(s.User) {
			t.Errorf("%s runs as %q, want a number other than 0", name, s.User)
		}
		if !s.ReadOnly {
			t.Errorf("%s can write to its root file system", name)
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || s.CapAdd != nil || s.Privileged || s.Pid != "" || s.Ipc != "" ||
			s.NetworkMode != "" || s.Devices != nil {
			t.Errorf("%s has privileges", name)
		}
		if !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s has security_opt %q", name, s.SecurityOpt)
		}
		if s.MemLimit <= 0 || s.CPUS <= 0 || s.CPUS > 1 || s.PidsLimit <= 0 {
			t.Errorf("%s: mem_limit %d, cpus %g, pids_limit %d; want limits, and no more CPUs than any machine has",
				name, s.MemLimit, s.CPUS, s.PidsLimit)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && !v.ReadOnly || strings.Contains(v.Source, "docker.sock") {
				t.Errorf("%s can write to %s of the host", name, v.Source)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes port %d on %q", name, p.Target, p.HostIP)
			}
		}
	}
}

var secretName = regexp.MustCompile(`SECRET|PASSWORD|TOKEN`)

// `docker compose up` without secrets says what to do; each secret has its own variable, and no file a value.
func TestSecretsComeFromOneFile(t *testing.T) {
	all := secrets(t)
	for name := range all {
		without := maps.Clone(all)
		delete(without, name)
		if _, err := load(t, without); err == nil || !strings.Contains(err.Error(), "run make secrets first") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	values := map[string]bool{}
	for _, value := range all {
		values[value] = true
	}
	seen := map[string]bool{}
	for name, s := range project(t, all).Services {
		for key, value := range s.Environment {
			if secretName.MatchString(key) && !values[*value] {
				t.Errorf("%s: %s does not come from .env", name, key)
			}
			for secret := range values {
				seen[secret] = seen[secret] || strings.Contains(*value, secret)
			}
		}
	}
	for name, value := range all {
		if !seen[value] {
			t.Errorf("no container gets %s", name)
		}
	}
	// Only NATS has the passwords of several users.
	for name, s := range project(t, all).Services {
		for key, value := range s.Environment {
			if user := regexp.MustCompile(`nats://(\w+):`).FindStringSubmatch(*value); user != nil &&
				!strings.HasPrefix(name, user[1]) && !strings.HasPrefix(name, "nats-") {
				t.Errorf("%s is the user %s in %s", name, user[1], key)
			}
		}
	}
}

// No configuration file in the repository holds a secret's value.
func TestNoSecretInAFile(t *testing.T) {
	variable := regexp.MustCompile(`\$\{[^}]*\}`)
	literal := regexp.MustCompile(`(?i)(password|secret|token|pass)["']?[ \t]*[:=][ \t]*["']?[^$"' \t\n{]|://[^/\s:@$"]+:[^$@\s/"]+@`)
	for _, pattern := range []string{composeFile, "*.conf", "*.yaml", "*.cfg", "*/*.y*ml", "*/*/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for i, line := range strings.Split(read(t, file), "\n") {
				text, _, _ := strings.Cut(line, "#")
				if found := literal.FindString(variable.ReplaceAllString(text, "$$")); found != "" {
					t.Errorf("%s:%d has a secret: %s", file, i+1, found)
				}
			}
		}
	}
}

// The documents start it with commands that exist.
func TestTheWayToStart(t *testing.T) {
	for _, document := range []string{"../README.md", "../docs/how-to/deploy.md"} {
		if !strings.Contains(read(t, document), "```\nmake secrets && docker compose up\n```") {
			t.Errorf("%s does not say how to start it", document)
		}
	}
	for _, target := range []string{"secrets", "pin"} {
		if !strings.Contains(read(t, "../Makefile"), "\n"+target+":\n\t@sh deploy/"+target+".sh\n") {
			t.Errorf("make %s does not run %s.sh", target, target)
		}
	}
	page := read(t, "../docs/how-to/deploy.md")
	for name := range secrets(t) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("deploy.md does not explain %s", name)
		}
	}
}

// What `make secrets` wrote stays, for its owner's eyes only, and is in neither Git nor an image.
func TestSecretsAreWrittenOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte("PORT=81\nEDGES_SECRET=mine\nGRAFANA_PASSWORD="), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := script(t, nil, "secrets.sh", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first := read(t, file)
	all := variables(first)
	if all["EDGES_SECRET"] != "mine" || all["PORT"] != "81" || len(all["GRAFANA_PASSWORD"]) < 40 {
		t.Errorf("the file was not completed:\n%s", first)
	}
	for name, value := range all {
		if len(value) > 40 && strings.Contains(out, value) {
			t.Errorf("%s was printed", name)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has the mode %v, %v", info.Mode(), err)
	}
	if out, err := script(t, nil, "secrets.sh", file); err != nil || out != "" || read(t, file) != first {
		t.Errorf("the second time: %v %s", err, out)
	}
	for _, ignoring := range []string{"../.gitignore", "../.dockerignore"} {
		if !regexp.MustCompile(`(?m)^/?\.env$`).MatchString(read(t, ignoring)) {
			t.Errorf("%s does not have .env", ignoring)
		}
	}
}

// Every image can be pinned: it comes from a variable, which `make pin` sets to a digest.
func TestImagesCanBePinned(t *testing.T) {
	const docker = `#!/bin/sh
if [ "$1" = pull ]; then exit 0; fi
for image; do :; done
echo "${image%%:*}@sha256:0123"
`
	folder := t.TempDir()
	file := filepath.Join(folder, ".env")
	for name, text := range map[string]string{"docker": docker, ".env": "NATS_IMAGE=old\nPORT=81\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := script(t, []string{"PATH=" + folder + ":" + os.Getenv("PATH")}, "pin.sh", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pinned := variables(read(t, file))
	if pinned["PORT"] != "81" || strings.Count(read(t, file), "NATS_IMAGE") != 1 {
		t.Errorf("the file is now\n%s", read(t, file))
	}
	environment := secrets(t)
	maps.Copy(environment, pinned)
	for name, s := range project(t, environment).Services {
		if s.Build == nil && !strings.Contains(s.Image, "@sha256:") {
			t.Errorf("%s has the image %s, which no variable pins", name, s.Image)
		}
		if s.Build == nil {
			continue
		}
		file := filepath.Join(s.Build.Context, s.Build.Dockerfile)
		for _, from := range regexp.MustCompile(`(?m)^FROM \$\{(\w+)\}`).FindAllStringSubmatch(read(t, file), -1) {
			if image := s.Build.Args[from[1]]; image == nil || !strings.Contains(*image, "@sha256:") {
				t.Errorf("%s is built from %s, which no variable pins", name, from[1])
			}
		}
	}
}

// The images of programs hold certificates for TLS, and run as no privileged user.
func TestDockerfile(t *testing.T) {
	stages := strings.Split(read(t, "../Dockerfile"), "\nFROM ")[1:]
	programs := 0
	for _, stage := range stages {
		name, _, _ := strings.Cut(stage, "\n")
		switch {
		case strings.HasPrefix(name, "scratch"):
			programs++
			if !strings.Contains(stage, " /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n") {
				t.Errorf("%s has no certificates", name)
			}
			if !regexp.MustCompile(`(?m)^USER [1-9]`).MatchString(stage) {
				t.Errorf("%s runs as root", name)
			}
		case strings.Contains(name, ":"):
			t.Errorf("%s: take the image from an argument", name)
		}
	}
	if programs < 3 {
		t.Errorf("%d images of programs", programs)
	}
}

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

// buckets is what the example chat may do beyond the contract: its two buckets.
var buckets = []string{
	"$JS.API.INFO",
	"$KV.chat_names.>", "$JS.API.STREAM.*.KV_chat_names", "$JS.API.DIRECT.GET.KV_chat_names.>",
	"$KV.chat_lines.>", "$JS.API.STREAM.*.KV_chat_lines", "$JS.API.CONSUMER.*.KV_chat_lines.>",
}

// NATS has the users of the contract, with /chat_room for /chat and the chat's buckets: nothing more, nothing less.
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
	deployed := natsOptions(t)
	if len(deployed.Users) != len(documented.Users) {
		t.Fatalf("%d users, the contract has %d", len(deployed.Users), len(documented.Users))
	}
	for i, want := range documented.Users {
		got := deployed.Users[i]
		if want.Username == "chat" {
			want.Permissions.Publish.Allow = append(want.Permissions.Publish.Allow, buckets...)
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
