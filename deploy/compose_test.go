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

	"partyline/config"
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
				text, _, _ := strings.Cut(strings.Replace(line, "automountServiceAccountToken: false", "", 1), "#")
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
	before := read(t, file)
	for failure, text := range map[string]string{"pull": "exit 1", "digest": "true"} {
		broken := strings.Replace("#!/bin/sh\nif [ $1 = pull ]; then PULL; fi\n", "PULL", text, 1)
		if err := os.WriteFile(filepath.Join(folder, "docker"), []byte(broken), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := script(t, []string{"PATH=" + folder + ":" + os.Getenv("PATH")}, "pin.sh", file)
		if err == nil || read(t, file) != before {
			t.Errorf("without a %s: %v, %s, and the file is now\n%s", failure, err, out, read(t, file))
		}
	}
	pinned := variables(before)
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
		name, isCompiler := strings.CutPrefix(name, "--platform=${BUILDPLATFORM:-linux} ")
		switch {
		case strings.HasPrefix(name, "${") && !isCompiler:
			t.Errorf("%s: without --platform, another platform's image is compiled under emulation", name)
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

// The edges' configuration has no fault and no warning, and no edge does without a secret.
func TestEdgesAreConfigured(t *testing.T) {
	services := project(t, secrets(t)).Services
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		var environment []string
		for key, value := range services[name].Environment {
			environment = append(environment, key+"="+*value)
		}
		loaded, err := config.Load(config.FlavourEdge, []string{"--config", "edge.yaml"}, environment)
		if err != nil || len(loaded.Warnings) > 0 {
			t.Errorf("%s: %v, warnings %q", name, err, loaded.Warnings)
		}
		c := loaded.Config
		if c.Edges.Insecure || c.Admin.Insecure || c.Edges.Secret == "" || c.Admin.Token == "" || c.Edges.Networks == nil {
			t.Errorf("%s has no secret, or accepts what is not secure", name)
		}
		if c.Advertise != "http://"+name+":3000" || !slices.Contains(c.Admin.Hosts, name) {
			t.Errorf("%s is known as %s, its pages as %q", name, c.Advertise, c.Admin.Hosts)
		}
	}
}
