package subscriptions

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// play runs a test with a Table in fake time. opened lists the subjects that were subscribed.
func play(t *testing.T, set Settings, test func(t *testing.T, table *Table, opened *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var opened []string
		set.Linger, set.Log = time.Second, slog.New(slog.DiscardHandler)
		set.Open = func(subject string) (*nats.Subscription, error) {
			opened = append(opened, subject)
			return &nats.Subscription{Subject: subject}, nil
		}
		if set.Connected == nil {
			set.Connected = func() bool { return true }
		}
		if set.Wake == nil {
			set.Wake = func() {}
		}
		set.Failed = func(subject string, err error) { t.Errorf("%s: %v", subject, err) }
		test(t, New(set), &opened)
	})
}

// Users share a subscription, which lingers after the last of them and is kept for one that comes back.
func TestUsersShareASubscription(t *testing.T) {
	woken := 0
	play(t, Settings{Wake: func() { woken++ }}, func(t *testing.T, table *Table, opened *[]string) {
		table.Add("a")
		table.Add("a")
		if !table.Lacks("a") || !table.Subscribe() || table.Lacks("a") || table.Subscribe() || woken != 2 {
			t.Fatalf("woken %d times, subscribed %q", woken, *opened)
		}
		table.Remove("a")
		table.Remove("a")
		table.Remove("a") // one too many
		if woken != 3 {
			t.Fatalf("woken %d times", woken)
		}
		time.Sleep(time.Second - 1)
		if wait := table.Sweep(time.Now()); wait != 1 || table.Count() != 1 {
			t.Fatalf("%d subscriptions, and the next ends in %s", table.Count(), wait)
		}
		table.Add("a")
		time.Sleep(time.Second)
		if table.Sweep(time.Now()); table.Count() != 1 || !slices.Equal(*opened, []string{"a"}) {
			t.Fatalf("%d subscriptions, of %q", table.Count(), *opened)
		}
		table.Remove("a")
		time.Sleep(time.Second)
		if table.Count() != 0 || !slices.Equal(table.Subjects(), []string{"a"}) {
			t.Fatalf("%d subscriptions count before they end", table.Count())
		}
		table.Sweep(time.Now())
		table.Add("a")
		if !table.Subscribe() || !slices.Equal(*opened, []string{"a", "a"}) {
			t.Fatalf("subscribed %q", *opened)
		}
	})
}

// While NATS is away nothing ends, and a subject that was never subscribed is forgotten with its last user.
func TestWithoutNATS(t *testing.T) {
	online := true
	play(t, Settings{Connected: func() bool { return online }}, func(t *testing.T, table *Table, opened *[]string) {
		table.Add("made")
		table.Subscribe()
		online = false
		table.Add("never made")
		table.Remove("never made")
		table.Remove("made")
		time.Sleep(2 * time.Second)
		table.Sweep(time.Now())
		if !slices.Equal(table.Subjects(), []string{"made"}) || table.Lacks("never made") {
			t.Fatalf("it has %q", table.Subjects())
		}
		online = true
		table.Sweep(time.Now())
		if table.Subscribe() || len(table.Subjects()) != 0 || !slices.Equal(*opened, []string{"made"}) {
			t.Fatalf("it has %q, subscribed %q", table.Subjects(), *opened)
		}
	})
}

// A subscription that fails is wanted until it succeeds, and one whose user has left meanwhile ends at once.
func TestASubscriptionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table *Table
		failed, meanwhile := 0, func() error { return errors.New("too many") }
		table = New(Settings{
			Connected: func() bool { return false }, Wake: func() {}, Failed: func(string, error) { failed++ },
			Open: func(subject string) (*nats.Subscription, error) {
				if err := meanwhile(); err != nil {
					return nil, err
				}
				return &nats.Subscription{Subject: subject}, nil
			},
		})
		table.Add("a")
		if table.Subscribe() || !table.Lacks("a") || failed != 1 {
			t.Fatalf("%d failures", failed)
		}
		meanwhile = func() error { table.Remove("a"); return nil }
		table.Subscribe()
		if table.Lacks("a") || len(table.Subjects()) != 0 || failed != 1 {
			t.Fatalf("it has %q after %d failures", table.Subjects(), failed)
		}
	})
}
