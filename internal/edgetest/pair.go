package edgetest

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Pair is two healthy clients in a namespace whose rule for "say" reaches both. Their numbered messages all arrive,
// once and in order, and nothing else does.
type Pair struct {
	Node     *Node
	Ann, Bob *Socket
	t        testing.TB
	Said     int // how many messages they have sent
}

// NewPair connects a pair to a namespace.
func NewPair(t testing.TB, n *Node, namespace string) *Pair {
	t.Helper()
	return &Pair{Node: n, Ann: n.Enter("ann", namespace), Bob: n.Enter("bob", namespace), t: t}
}

// Fine makes one of them send the next number, which must be the next message that both receive.
func (p *Pair) Fine() {
	p.t.Helper()
	if err := p.say(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *Pair) say() error {
	speaker := p.Ann
	if p.Said%2 == 1 {
		speaker = p.Bob
	}
	p.Said++
	body := fmt.Sprintf(`["say",%d]`, p.Said)
	speaker.Emit("", body)
	for _, who := range []*Socket{p.Ann, p.Bob} {
		if got, ok := who.Await(); !ok || got != "42"+who.Head+body {
			return fmt.Errorf("of the healthy pair one got %q (%v) instead of %q", got, ok, body)
		}
	}
	return nil
}

// Chat makes the two talk beside the test until it is stopped, or ends.
func (p *Pair) Chat() (stop func()) {
	before, quit, done := p.Said, make(chan struct{}), make(chan error, 1)
	go func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for {
			if err := p.say(); err != nil {
				done <- err
				return
			}
			select {
			case <-quit:
				done <- nil
				return
			case <-pace.C:
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		close(quit)
		if err := <-done; err != nil {
			p.t.Error(err)
		}
		p.t.Logf("meanwhile the healthy pair said %d things", p.Said-before)
	})
	p.t.Cleanup(stop)
	return stop
}
