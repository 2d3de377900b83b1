package backend_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/backend"
)

// As in JavaScript, where they are undefined.
func TestMissingArgumentsAreZeroValues(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	type order struct{ ID int }
	chat.On("all", func(n int, f float64, text string, yes bool, data []byte, list []int, m map[string]int, o order, p *order, v any, rest ...int) string {
		return fmt.Sprint(n, f, text == "", yes, data == nil, list == nil, m == nil, o, p == nil, v, len(rest))
	})
	chat.On("ack", func(ctx context.Context, so *backend.Socket, n int, text string, ack backend.Ack) { _ = ack(n, text) })
	chat.On("args", func(args backend.Args) int { return args.Len() })
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["all"]`)
	ann.acked("1", `["0 0 true false true true true {0} true <nil> 0"]`)
	ann.emit("2", `["all",7]`)
	ann.acked("2", `["7 0 true false true true true {0} true <nil> 0"]`)
	ann.emit("3", `["all",null,null,null,null,null,null,null,null,null,null]`)
	ann.acked("3", `["0 0 true false true true true {0} true <nil> 0"]`)
	ann.emit("4", `["ack"]`)
	ann.acked("4", `[0,""]`)
	ann.emit("5", `["ack",1]`)
	ann.acked("5", `[1,""]`)
	ann.emit("6", `["ack",1,"a","more","and more"]`)
	ann.acked("6", `[1,"a"]`)
	ann.emit("7", `["args"]`)
	ann.acked("7", `[0]`)
	if got := io.Stats().BadArguments; got != 0 {
		t.Errorf("%d bad arguments", got)
	}
}

// picky panics on one input of a client, while decoding it.
type picky string

func (p *picky) UnmarshalJSON(text []byte) error {
	if string(text) == `"bad"` {
		panic("picky")
	}
	*p = picky(text)
	return nil
}

// sulky panics when it is encoded.
type sulky struct{}

func (sulky) MarshalJSON() ([]byte, error) { panic("sulky") }

func TestAClientWhoseArgumentsDoNotFitIsAnswered(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]backend.NamespaceOption{"stateless": nil, "owned": {backend.Owned()}} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			reports := make(chan *backend.HandlerError, 10)
			io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
			chat := io.Of("/chat", options...)
			chat.On("small", func(n int8) int8 { return n })
			chat.On("unsigned", func(n uint) uint { return n })
			chat.On("text", func(text string) string { return text })
			chat.On("data", func(data []byte) int { return len(data) })
			chat.On("object", func(o struct{ N int }) int { return o.N })
			chat.On("many", func(n ...int) int { return len(n) })
			chat.On("silent", func(n int) {})
			chat.On("ack", func(n int, ack backend.Ack) { _ = ack(n) })
			chat.On("decodes", func(args backend.Args, ack backend.Ack) error {
				var n int
				if err := args.Decode(&n); err != nil {
					return err
				}
				return ack(n)
			})
			chat.On("picky", func(p picky) string { return string(p) })
			s.start(io)
			ann := s.enter("ann", "/chat")
			for i, c := range []struct {
				body string
				bad  int // the argument that does not fit
			}{
				{`["small",300]`, 1}, {`["small",-129]`, 1}, {`["small",1.5]`, 1}, {`["small",1e400]`, 1}, {`["unsigned",-1]`, 1},
				{`["text",7]`, 1}, {`["text",{}]`, 1}, {`["data","not base64!"]`, 1}, {`["data",7]`, 1}, {`["object",[]]`, 1},
				{`["object",{"N":"x"}]`, 1}, {`["many",1,2,"x"]`, 3}, {`["silent","x"]`, 1}, {`["ack","x"]`, 1},
				{`["decodes","x"]`, 1}, {`["picky","bad"]`, 1},
			} {
				ack := fmt.Sprint(i)
				ann.emit(ack, c.body)
				ann.acked(ack, fmt.Sprintf(`[{"error":"argument %d does not fit"}]`, c.bad))
				if e := <-reports; !errors.Is(e.Err, backend.BadArguments) || e.Socket != ann.id {
					t.Errorf("%s is reported as %v", c.body, e)
				}
			}
			// A client that wants no ack gets none, and no event instead.
			ann.emit("", `["ack","x"]`)
			<-reports
			ann.emit("", `["ack",1]`)
			ann.emit("99", `["ack",1]`)
			ann.acked("99", `[1]`)
		})
	}
}

func TestAnEventThatCannotBeReadIsAnswered(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("n", func(n int) int { return n })
	chat.OnServerSide("n", func(n int) int { return n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	nc := s.connection()
	for i, c := range []struct{ body, lengths string }{
		{`{`, ""}, {`[]`, ""}, {`null`, ""}, {`["n",1]`, "99"}, {`["n",{"_placeholder":true,"num":0}]`, "x"},
		{`["n",{"_placeholder":true,"num":1}]a`, "1"},
	} {
		m := &nats.Msg{Subject: "sio.chat.on.n", Reply: fmt.Sprintf("sio.chat.ack.%s.%d", ann.id, i), Data: []byte(c.body), Header: nats.Header{}}
		if c.lengths != "" {
			m.Header.Set("Sio-Attachments", c.lengths)
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		ann.acked(fmt.Sprint(i), `[{"error":"the event cannot be read"}]`)
		if e := <-reports; !errors.Is(e.Err, backend.BadArguments) {
			t.Errorf("%s is reported as %v", c.body, e)
		}
		m.Subject, m.Header = "sio.chat.service.n", nats.Header{"Sio-Attachments": m.Header["Sio-Attachments"], "Sio-From": {"other-1"}}
		answer, err := nc.RequestMsg(m, patience)
		if err != nil || answer.Header.Get("Sio-Error") == "" {
			t.Errorf("%s of another service: %v, %v", c.body, answer, err)
		}
		<-reports
	}
}

// A handler whose arguments do not fit does not prevent another one's answer.
func TestAnAckOfAnotherHandlerCounts(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	release := make(chan struct{})
	var late sync.WaitGroup
	chat.On("later", func(n int) int { return n })
	chat.On("later", func(text string, ack backend.Ack) {
		late.Go(func() {
			<-release
			_ = ack(text)
		})
	})
	chat.On("now", func(n int) int { return n })
	chat.On("now", func(text string) string { return text })
	chat.On("first", func(ack backend.Ack) { _ = ack("first") })
	chat.On("first", func(n int) int { return n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["later","x"]`)
	ann.emit("2", `["now","x"]`)
	ann.acked("2", `["x"]`)
	ann.emit("3", `["first","x"]`)
	ann.acked("3", `["first"]`)
	close(release)
	ann.acked("1", `["x"]`)
	late.Wait()
}

func TestErrorAcksCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.WithoutErrorAcks(), backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("n", func(n int) int { return n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["n","x"]`)
	if e := <-reports; !errors.Is(e.Err, backend.BadArguments) {
		t.Errorf("reported %v", e)
	}
	ann.emit("2", `["n",2]`)
	ann.acked("2", `[2]`)
}

// The user's own methods run while arguments are decoded and results encoded. Their panics do not end the process.
func TestAPanicOfAnAnswerIsReported(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	chat.On("sulky", func() sulky { return sulky{} })
	chat.On("n", func(n int) int { return n })
	s.start(io)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["sulky"]`)
	var panicked *backend.PanicError
	if e := <-reports; !errors.As(e.Err, &panicked) || panicked.Value != "sulky" {
		t.Errorf("reported %v", e)
	}
	ann.emit("2", `["n",2]`)
	ann.acked("2", `[2]`)
	if got := io.Stats().Panics; got != 1 {
		t.Errorf("%d panics", got)
	}
}

// As in the reference, an event without a handler is not answered. Here it is also counted.
func TestEventsWithoutAHandlerAreCounted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat, watched := io.Of("/chat"), io.Of("/watched")
	for _, ns := range []*backend.Namespace{chat, watched} {
		ns.On("n", func(n int) int { return n })
	}
	watched.OnAny(func(*backend.Socket, string, backend.Args) {})
	s.start(io)
	for _, name := range []string{"/chat", "/watched"} {
		ann := s.enter("ann", name)
		ann.emit("1", `["nobody handles this"]`)
		ann.emit("2", `["n",2]`)
		ann.acked("2", `[2]`)
	}
	if got := io.Stats(); got.Unhandled != 1 || got.Events != 4 {
		t.Errorf("counted %+v", got)
	}
}

func TestAServiceSaysThatItHasStarted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	var log logText
	io := s.service("shop", backend.Logger(slog.New(slog.NewTextHandler(&log, nil))))
	io.Of("/chat").On("n", func(n int) int { return n })
	io.Of("/tenant-*").On("n", func(n int) int { return n })
	s.start(io)
	log.mu.Lock()
	defer log.mu.Unlock()
	text := log.text.String()
	for _, want := range []string{"the service has started", "service=shop", "instance=" + io.Instance(), `namespaces="/chat, /tenant-*"`} {
		if strings.Count(text, want) != 1 {
			t.Errorf("the log says %q once: %s", want, text)
		}
	}
}

// What clients send goes to the hook, not to the log, and a client cannot fill the log with it.
func TestTheLogHasNoArguments(t *testing.T) {
	t.Parallel()
	s := begin(t)
	var log logText
	var mu sync.Mutex
	var hook []string
	io := s.service("shop", backend.Logger(log.logger()), backend.OnError(func(err *backend.HandlerError) {
		mu.Lock()
		defer mu.Unlock()
		hook = append(hook, err.Error())
	}))
	io.Of("/chat").On("sum", func(a, b int) int { return a + b })
	s.start(io)
	ann := s.enter("ann", "/chat")
	for n := range 20 {
		ann.emit(fmt.Sprint(n), `["sum",{"password":"hunter2"},1]`)
		ann.acked(fmt.Sprint(n), `[{"error":"argument 1 does not fit"}]`)
	}
	log.mu.Lock()
	text := log.text.String()
	log.mu.Unlock()
	if strings.Contains(text, "hunter2") || strings.Count(text, "argument 1 does not fit: expected int") != 1 {
		t.Errorf("the log has the argument, or not one line: %s", text)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(hook) != 20 || !strings.Contains(hook[0], "hunter2") {
		t.Errorf("the hook got %d errors: %q", len(hook), hook)
	}
}
