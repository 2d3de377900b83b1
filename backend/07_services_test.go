package backend_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"partyline/backend"
)

func TestServicesAmongThemselves(t *testing.T) {
	t.Parallel()
	s := begin(t)
	told := make(chan string, 10)
	instance := func() *backend.Service {
		io := s.service("chat")
		chat := io.Of("/chat")
		chat.OnServerSide("tell", func(text string, data []byte) { told <- io.Instance() + text + string(data) })
		chat.OnServerSide("ask", func(n int) (int, error) {
			if n < 0 {
				return 0, errors.New("too small")
			}
			return n * 2, nil
		})
		return s.start(io)
	}
	a, b, c := instance(), instance(), instance()
	ctx := context.Background()
	if err := a.Of("/chat").ServerSideEmit("tell", "hi", []byte("!")); err != nil {
		t.Fatal(err)
	}
	got := []string{<-told, <-told}
	want := []string{b.Instance() + "hi!", c.Instance() + "hi!"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
	eventually(t, "all answer", func() bool {
		r, err := a.Of("/chat").ServerSideEmitWithAck(ctx, "ask", 21)
		n := 0
		return err == nil && len(r.Answers) == 2 && r.Answers[0].Args.Decode(&n) == nil && n == 42
	})
	r, err := a.Of("/chat").ServerSideEmitWithAck(ctx, "ask", -1)
	if !errors.Is(err, backend.NoAnswer) || len(r.Failed) != 2 || r.Failed[b.Instance()] == nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is left", func() bool {
		r, err := a.Of("/chat").ServerSideEmitWithAck(ctx, "ask", 1)
		return err == nil && len(r.Answers) == 1 && r.Answers[0].Instance == c.Instance()
	})
}
