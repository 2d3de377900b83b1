// Package answer is the application of the scenario echo: a service that acks, with the plain NATS client.
package answer

import (
	"bytes"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// Main acks each event with its arguments, until the process is killed.
func Main(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	event := []byte(`["echo",`)
	_, err = nc.QueueSubscribe("sio.bench.on.echo", "bench", func(m *nats.Msg) {
		arguments, ok := bytes.CutPrefix(m.Data, event)
		if !ok {
			return
		}
		_ = m.Respond(append([]byte("["), arguments...)) // a failure counts as a lost ack
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if _, err := fmt.Fprintln(os.Stderr, `{"msg":"listening"}`); err != nil {
		return fmt.Errorf("say that it is ready: %w", err)
	}
	select {}
}
