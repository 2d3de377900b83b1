package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

func TestAWildcardReplacesWhatItCovers(t *testing.T) {
	list := []interest{{"sio.a.own.g.>", "g"}, {"sio.*.own.g.>", "g"}, {"sio.*.own.g.>", "g"}, {"sio.a.own.g.>", ""}, {"sio.a.on.>", "g"}}
	want := []interest{{"sio.*.own.g.>", "g"}, {"sio.a.own.g.>", ""}, {"sio.a.on.>", "g"}}
	if got := distinct(list); !slices.Equal(got, want) {
		t.Errorf("kept %v", got)
	}
}

// Own changes count at once, whether or not the edge's notice about them has arrived, and in any order.
func TestOwnChangesAndNotices(t *testing.T) {
	join := func(room string) func(*msg.State) {
		return func(s *msg.State) { s.Rooms = union(s.Rooms, []string{room}) }
	}
	rev := func(n uint64) *uint64 { return &n }
	o := &ownership{known: msg.State{Rooms: []string{"a"}}}
	at := func(want string) {
		t.Helper()
		if got := fmt.Sprint(o.state().Rooms); got != want {
			t.Fatalf("the rooms are %s, want %s", got, want)
		}
	}
	o.changed(rev(2), join("two"))
	at("[a two]")
	o.notice(msg.State{Rev: 1, Rooms: []string{"a", "one"}}) // an earlier change of another client
	at("[a one two]")
	o.changed(rev(4), join("four"))
	o.changed(rev(3), join("three"))
	at("[a one two three four]")
	o.notice(msg.State{Rev: 3, Rooms: []string{"a", "three"}})
	at("[a three four]")
	o.notice(msg.State{Rev: 2, Rooms: []string{"old"}})
	at("[a three four]")
	o.notice(msg.State{Rev: 4, Rooms: []string{"a", "three", "four"}})
	o.changed(rev(4), join("late")) // the notice had it
	at("[a three four]")
	o.changed(nil, join("uncounted"))
	at("[a three four uncounted]")
}

// Arguments of an application come back unchanged, and a hostile body causes no panic.
func FuzzBodies(f *testing.F) {
	f.Add([]byte(`["x",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]abc`), "1,2")
	f.Add([]byte(`["x",{"_placeholder":true,"num":7}]a`), "1")
	f.Add([]byte(`[1]`), "")
	f.Fuzz(func(t *testing.T, body []byte, lengths string) {
		header := nats.Header{}
		if lengths != "" {
			header[msg.HeaderAttachments] = []string{lengths}
		}
		args, err := parseArgs(body, header, 1)
		if err != nil {
			return
		}
		values := make([]any, args.Len())
		for i := range values {
			if err := args.Decode(append(make([]any, 0, i+1), pointers(values, i)...)...); err != nil {
				return // a number too large for a float64
			}
		}
		again, header, err := eventBody("x", values)
		if err != nil {
			return // placeholders may share an attachment: then there are more than ten
		}
		second, err := parseArgs(again, header, 1)
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		for i := range values {
			var a, b any
			_ = json.Unmarshal(args.JSON(i), &a)
			_ = json.Unmarshal(second.JSON(i), &b)
			left, _ := json.Marshal(a)
			right, _ := json.Marshal(b)
			if !bytes.Equal(left, right) {
				t.Fatalf("argument %d was %s and is %s", i, left, right)
			}
		}
	})
}

// pointers returns pointers to the first values, up to and including i.
func pointers(values []any, i int) (list []any) {
	for j := range i + 1 {
		list = append(list, &values[j])
	}
	return list
}

func BenchmarkEventBody(b *testing.B) {
	for name, args := range map[string][]any{
		"plain": {"hello", 7}, "object": {map[string]any{"text": "hello", "n": 7, "list": []int{1, 2, 3}}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := eventBody("message", args); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// letters is a []byte whose elements have another type.
type letters []letter

type letter byte

// A value without a []byte, or with one of another type, is encoded as by encoding/json.
func TestWhatIsAnAttachment(t *testing.T) {
	var circle any
	circle = &circle
	for want, value := range map[string]any{
		`["x",{"_placeholder":true,"num":0}]ab`: letters("ab"),
		`["x",["YQ==",null,{"a":7.50}]]`:        []any{json.RawMessage(`"YQ=="`), []byte(nil), map[string]json.Number{"a": "7.50"}},
		`["x",[1,2]]`:                           [2]byte{1, 2},
		`["x",{"A":{"_placeholder":true,"num":0},"B":{}}]a`: struct {
			A any
			B map[string][]byte `json:",omitzero"`
			C []byte            `json:",omitempty"`
			D []byte            `json:"-"`
		}{[]byte("a"), map[string][]byte{}, []byte{}, []byte("d")},
	} {
		if body, _, err := eventBody("x", []any{value}); err != nil || string(body) != want {
			t.Errorf("%#v becomes %s, %v, want %s", value, body, err, want)
		}
	}
	if _, _, err := eventBody("x", []any{circle}); !errors.Is(err, BadArguments) || !strings.Contains(err.Error(), "circle") {
		t.Errorf("a pointer to itself: %v", err)
	}
	args, err := parseArgs([]byte(`["x",{"n":7.50,"data":{"_placeholder":true,"num":0}}]ab`), nats.Header{msg.HeaderAttachments: {"2"}}, 1)
	var into struct {
		N    json.Number
		Data letters
	}
	if err = errors.Join(err, args.Decode(&into)); err != nil || into.N != "7.50" || string(into.Data) != "ab" {
		t.Errorf("decoded %+v, %v", into, err)
	}
}

func TestBinaryWhereTheTypeIsAny(t *testing.T) {
	body := `["x",["YWJj","",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}],"YWJj",{"_placeholder":true,"num":0}]abc`
	args, err := parseArgs([]byte(body), nats.Header{msg.HeaderAttachments: {"3,0"}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var list, text, data any
	if err := args.Decode(&list, &text, &data); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%#v %#v %#v", list, text, data)
	want := `[]interface {}{"YWJj", "", []uint8{0x61, 0x62, 0x63}, map[string]interface {}{"a":[]uint8{}}} "YWJj" []byte{0x61, 0x62, 0x63}`
	if got != want {
		t.Errorf("decoded %s", got)
	}
	var s string
	var bad *ArgumentError
	if err := args.Decode(&list, &text, &s); !errors.As(err, &bad) || bad.Got != "binary data" {
		t.Errorf("binary data fits a string: %v", err)
	}
	many := bytes.Repeat([]byte(`,{"_placeholder":true,"num":0}`), 1000)
	bomb := append(append([]byte(`["x"`), many...), "]abc"...)
	if _, err := parseArgs(bomb, nats.Header{msg.HeaderAttachments: {"3"}}, 1); !errors.Is(err, BadArguments) {
		t.Errorf("a bomb: %v", err)
	}
}
