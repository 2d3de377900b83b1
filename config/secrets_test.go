package config

import (
	"errors"
	"strings"
	"testing"
)

// Misplaced secrets, and secrets in values that do not parse, are not repeated.
func TestFaultsShowNoSecrets(t *testing.T) {
	const seed = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZS3CRET"
	for _, args := range [][]string{
		{"--nats.url=nats://bob:s3cret"}, {"--nats.url=nats://bob:s3cret127.0.0.1:4222"}, {"--nats.url=nats://bob:%zzs3cret@h"}, {"--nats.url=nats://bob:a,s3cret@h"},
		{"--nats.url=nast://bob:s3cret@h"}, {"--nats.url=nats://bob:1#s3cret@h"}, {"--nats.url=nats://bob:1?s3cret@h"}, {"--nats.url=nats://s3cret/x@h"}, {"--nats.url=nats://s3cret@h:x"}, {"--nats.url=nats://h:x?token=s3cret"}, {"--nats.url=http://h/?s3cret"},
		{"nats://bob:s3cret@h"}, {"bob:s3cret@h"}, {"--listen=bob:s3cret@h:1"}, {"--admin.listen", "nats://bob:s3cret@h"}, {"--advertise=http://bob:s3cret@h:1"},
		{"--cors.origins=https://bob:s3cret@app.example"}, {"--trusted_proxies=bob:s3cret@10.0.0.1"}, {"--limits.sessions=nats://s3cret@h"}, {"--page=nats://s3cret@h"},
		{"--drain.timeout=nats://bob:s3cret@h"}, {"--config=nats://bob:s3cret@h"}, {"--log.level=nats://bob:s3cret@h"}, {"--=s3cret"}, {"--health=nats://bob:s3cret@h"}, {"--nats.urll=nats://bob:s3cret@h"}, {"--nats.nkey=" + seed}, {"--nats.nkey=x", seed}, {"--nats.token", "my", "s3cret"}, {"s3cret", "--edges.secret=my"}, {seed}, {"--nats.creds=-----BEGIN NATS USER JWT-----s3cret"},
		{"--nats.urlnats://bob:s3cret@h"}, {"--nats.tokens3cret"}, {"-nats.token:s3cret"}, {"--edges.secret:s3cret"}, {"--nats://bob:s3cret@h"}, {"--nats.url=nats://a", "s3cret"},
		{"--cookie.name=nats://bob:s3cret@h"}, {"--path=nats://bob:s3cret@h"}, {"--nats.prefix=nats://bob:s3cret@h"}, {"--nats.prefix=bob:s3cret@h x"}, {"--admin.hosts=bob:s3cret@h"}, {"--nats.reply_prefixes=nats://bob:s3cret@h"}, {"--nats.reply_prefixes=_INBOX.>,bob:s3cret@h"},
		{"--edges.networks=bob:s3cret@h"}, {"--embedded.listen=bob:s3cret@h"},
		{"--nats.creds=nats://bob:s3cret@h"}, {"--nats.tls.ca=bob:s3cret@h"}, {"--nats.nkey=s3cret@h"}, {"--admin.token=s3cret "}, {"--engine.transports=bob:s3cret@h"},
		{"--config", write(t, "nats:\n  nats://bob:s3cret@h:\n")}, {"--config", write(t, "bob:s3cret@h: x\n")}, {"--config", write(t, "namespaces: {\"bob:s3cret@h\": {}}\n")},
		{"--config", write(t, "namespaces: {/a: {\"bob:s3cret@h\": 1, connect: \"bob:s3cret@h\", connect_timeout: \"bob:s3cret@h\"}}\n")},
		{"--config", write(t, "nats: {url: 'nats://bob:s3cret@h:99999'}\nlisten: \"bob:s3cret@h\"\nadmin: {listen: bob:s3cret@h, listen: bob:s3cret@h}\n")},
		{"--config", write(t, "nats:\n  url: >-\n    nats://bob:s3cret@h\n    x\n")}, {"--config", write(t, "nats: {url: nats://bob:s3cret@h: x}\n")}, {"--config", write(t, "nats://bob:s3cret@h\n")},
		{"--config", write(t, "nats:\n  token: *s3cret\n")}, {"--config", write(t, "nats: {url: [nats://bob:s3cret@h]}\n")}, {"--config", write(t, "edges: {secret: {s: s3cret}}\n")},
	} {
		_, err := Load(FlavourEdge, args, nil)
		var faults Faults
		if !errors.As(err, &faults) || strings.Contains(strings.ToLower(err.Error()), "s3cret") {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, variable := range []string{`PARTYLINE_NAMESPACES={"/a":{"connect":"bob:s3cret@h"}}`, "PARTYLINE_NAMESPACES=nats://bob:s3cret@h",
		`PARTYLINE_NAMESPACES={"nats://bob:s3cret@h":{}}`, "PARTYLINE_NATS_URL=nats://bob:s3cret@h:x", "PARTYLINE_LISTEN=nats://bob:s3cret@h", "PARTYLINE_ADMIN_TOKEN=s3cret\n"} {
		_, err := Load(FlavourEdge, nil, []string{variable})
		var faults Faults
		if !errors.As(err, &faults) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", variable, err)
		}
	}
	loaded := mustLoad(t, FlavourEdge, nil, []string{"PARTYLINE_NATS_URL:nats://bob:s3cret@h=x"})
	if text := strings.Join(loaded.Warnings, " "); strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}

// No key shows the password of a URL that was typed in its place: it is a fault without it, or the key is for URLs or
// a secret.
func TestNoKeyShowsAURL(t *testing.T) {
	for _, f := range all {
		for _, k := range keysOf(f) {
			for _, url := range []string{"nats://bob:s3cret@h", "bob:s3cret@h", "nats://h?token=s3cret", "tls://s3cret@[::1]:1"} {
				loaded, err := Load(f, []string{"--" + k.name + "=" + url}, nil)
				said := strings.Join(loaded.Warnings, " ")
				if err == nil {
					printed, _ := loaded.Config.YAML(f)
					said += string(printed)
				} else {
					said += err.Error()
				}
				if strings.Contains(said, "s3cret") {
					t.Errorf("--%s=%s: %s", k.name, url, said)
				}
			}
		}
	}
}
