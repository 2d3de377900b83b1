package bus

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/permits"
)

// errorsTimeout bounds the wait for nats.go's callback to have processed what NATS refused.
const errorsTimeout = time.Second

// RequirePublish makes the bus Ready only while NATS lets it publish on a subject. probe makes a message that may be
// published there at any time. It runs on the bus's worker, for each new connection and while NATS refuses the
// subject.
func (b *Bus) RequirePublish(subject string, probe func() (Header, []byte)) {
	b.permits.Expect(permits.Right{Publish: true, Subject: subject}, permits.Required, func() {
		header, body := probe()
		_ = b.Publish([]byte(subject), nil, header, body) // without a connection it is tried again with the next
	})
}

// RequireSubscription makes the bus Ready only while NATS does not refuse a subscription. The bus need not have it.
func (b *Bus) RequireSubscription(subject string) {
	b.permits.Expect(permits.Right{Subject: subject}, permits.Required, nil)
}

// Excuse takes back what RequirePublish and RequireSubscription said of subjects.
func (b *Bus) Excuse(subjects ...string) { b.permits.Forget(subjects...) }

// SubscribeRequired is Subscribe for a subject that the edge is useless without.
func (b *Bus) SubscribeRequired(subject string) {
	b.RequireSubscription(subject) // before NATS can refuse it
	b.Subscribe(subject)
	b.RequireSubscription(subject) // NATS is asked after the subscription is made
}

// SubscribeOptional is Subscribe for a subject that the edge works without if NATS refuses it.
func (b *Bus) SubscribeOptional(subject string) {
	b.permits.Expect(permits.Right{Subject: subject}, permits.Optional, nil)
	b.Subscribe(subject)
}

// Permissions sets, as patterns, what NATS must permit the edge, so that the log can name what is missing. It requires
// every subscription so far. Later ones may be refused without harm, unless another method requires them: others have
// chosen them.
func (b *Bus) Permissions(publish, subscribe []string) {
	for _, subject := range b.subscriptions.Subjects() {
		b.RequireSubscription(subject)
	}
	b.permits.Name(publish, subscribe)
}

// conclude ends what permits.Ask began. answered reports whether a round trip succeeded after it. It waits until
// nats.go's callback has processed what NATS refused before that. nats.go keeps the last error before it calls back,
// on a goroutine of its own.
func (b *Bus) conclude(answered bool) {
	for end := time.Now().Add(errorsTimeout); answered && time.Now().Before(end); time.Sleep(time.Millisecond) {
		err, passed := b.nc.LastError(), b.state.passed.Load()
		if !errors.Is(err, nats.ErrPermissionViolation) || passed != nil && *passed == err { // nats.go makes a new one each time
			break
		}
	}
	b.permits.Conclude(answered)
}
