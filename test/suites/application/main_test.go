package main

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The application does what the suite expects, in both namespaces.
func TestApplication(t *testing.T) {
	nats := natsdtest.Start(t).ClientURL()
	node := edgetest.Start(t, edgetest.Options{NATS: nats, Namespaces: map[string]rule.Namespace{
		"/": {Connect: rule.ConnectService}, "/custom": {Connect: rule.ConnectService},
	}}).Ready()
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- run(ctx, nats, func() { close(ready) }) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-ready
	client := enginetest.Dial(t, node.Talk, "ann", node.URL, nil)
	for _, namespace := range []string{"/", "/custom"} {
		head := strings.TrimPrefix(namespace+",", "/,")
		client.Connect(namespace, `{"token":"123"}`)
		client.Expect(`42` + head + `["auth",{"token":"123"}]`)
		client.Send(`42` + head + `["message",1,"2",{"3":[true]}]`)
		client.Expect(`42` + head + `["message-back",1,"2",{"3":[true]}]`)
		client.Send(`42` + head + `456["message-with-ack",1,"2",{"3":[false]}]`)
		client.Expect(`43` + head + `456[1,"2",{"3":[false]}]`)
		client.Send(`451-` + head + `789["message-with-ack",{"_placeholder":true,"num":0}]`)
		client.SendBinary([]byte{1, 2, 3})
		client.Expect(`461-` + head + `789[{"_placeholder":true,"num":0}]`)
		client.Expect("b\x01\x02\x03")
	}
	client.Hangup()
}
