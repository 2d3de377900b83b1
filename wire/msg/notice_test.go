package msg

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBodies(t *testing.T) {
	rev := uint64(7)
	request := Request{
		Session: "abc", Query: map[string]string{"t": "<&>", "EIO": "4"}, Headers: map[string]string{"host": "a"}, Address: "::1", URL: "/socket.io/", Secure: true,
	}.JSON()
	begun := AppendHandshake([]byte(ConnectHead), "k3f9a0zz.x", nil, time.UnixMilli(1767225600000), "polling", request)
	const shook = `{"sid":"k3f9a0zz.x","auth":{},"issued":1767225600000,"time":"Thu Jan 01 2026 00:00:00 GMT+0000 (Coordinated Universal Time)",` +
		`"transport":"polling","session":"abc","query":{"EIO":"4","t":"<&>"},"headers":{"host":"a"},"address":"::1","url":"/socket.io/","secure":true,"xdomain":false}`
	for want, got := range map[string][]byte{
		`["connect",` + shook + `]`: Connect(slices.Clone(begun), nil),
		`["connect",` + shook[:len(shook)-1] + `,"handover":{"from":"a","rev":1,"rooms":["x"],"data":{}}}]`: Connect(slices.Clone(begun), &State{
			From: "a", Rev: 1, Rooms: []string{"x"}}),
		`["connect",` + shook[:len(shook)-1] + `,"handover":{"rev":1,"rooms":[],"data":{}},"edge":"k3f9a0zz","recovered":true,"decides":true}]`: Connect(
			slices.Clone(begun), &State{Rev: 1, Rooms: []string{}, Edge: "k3f9a0zz", Recovered: true, Decides: true}),
		`["connect",` + shook[:len(shook)-1] + `,"recovered":{"rooms":["x"],"user":"ann","data":{"a":1}}}]`: ConnectRecovered(
			slices.Clone(begun), Recovered{Rooms: []string{"x"}, User: "ann", Data: []byte(`{"a":1}`)}),
		`["connect",` + shook[:len(shook)-1] + `,"recovered":{"rooms":[],"data":{}}}]`: ConnectRecovered(slices.Clone(begun), Recovered{}),
		`["connect",{"sid":"s","rev":0,"rooms":[],"user":"ann","data":{"a":1}}]`:       State{ID: "s", User: "ann", Data: []byte(`{"a":1}`)}.Body(),
		`["connect",{"sid":"s","rev":2,"rooms":[],"data":{},"transport":"polling"}]`:   State{ID: "s", Rev: 2, Rooms: []string{}, Transport: "polling"}.Body(),
		`["disconnect",{"reason":"transport close","rooms":["a","메"]}]`:                Ended{Reason: "transport close", Rooms: []string{"a", "메"}}.Body(),
		`["disconnect",{"reason":"owner changed","rooms":[],"assignment":3}]`:          Ended{Reason: ReasonOwnerChanged, Assignment: 3}.Body(),
		`["disconnecting",{"edge":"k3f9a0zz"}]`:                                        EdgeNotice{"k3f9a0zz"}.Body(EventDisconnecting),
		`[{"edge":"k3f9a0zz","sockets":2}]`:                                            Answer{Edge: "k3f9a0zz", Sockets: 2}.Body(),
		`[{"edge":"k3f9a0zz","sockets":1,"rev":7}]`:                                    Answer{Edge: "k3f9a0zz", Sockets: 1, Rev: &rev}.Body(),
		`[{"edge":"k3f9a0zz","sockets":0,"markers":[]}]`:                               HandedOver{Edge: "k3f9a0zz"}.Body(),
		`[{"rooms":["a"],"user":"ann"}]`:                                               Grant{Rooms: []string{"a"}, User: "ann"}.Body(),
		`["chat-1"]`:                                                                   InstanceBody("chat-1"),
		`{"id":"s","data":{ "a":1.0}}`:                                                 FetchedSocket{ID: "s", Data: []byte(`{ "a":1.0}`)}.DataElement(),
		`"a\"b":3`:                                                                     RoomElement(`a"b`, 3),
	} {
		if string(got) != want {
			t.Errorf("the body is\n%s, want\n%s", got, want)
		}
	}
}

func TestParseNotice(t *testing.T) {
	var about EdgeNotice
	for _, body := range []string{``, `x`, `{}`, `null`, `[]`, `["a"]`, `["a",{},{}]`, `["a",1]`, `["a",{"edge":1}]`} {
		if err := ParseNotice([]byte(body), &about); err == nil {
			t.Errorf("ParseNotice(%q) has no error", body)
		}
	}
	if err := ParseNotice([]byte(`["a"]`), &about); !errors.Is(err, errNotice) || !strings.Contains(err.Error(), "it has 1 elements") {
		t.Error(err)
	}
}

func TestElementLeavesOutWhatIsTooLarge(t *testing.T) {
	f := FetchedSocket{ID: "s", Rooms: []string{strings.Repeat("r", 100)}, Handshake: []byte(`{"url":"` + strings.Repeat("u", 1000) + `"}`)}
	for limit, want := range map[int]string{
		2000: string(f.append(nil)),
		500:  `{"id":"s","namespace":"","rooms":["` + f.Rooms[0] + `"],"data":{},"handshake":{},"incomplete":true}`,
		100:  `{"id":"s","namespace":"","rooms":[],"data":{},"handshake":{},"incomplete":true}`,
	} {
		if got := string(f.Element(limit)); got != want {
			t.Errorf("at most %d bytes: %s, want %s", limit, got, want)
		}
	}
}

// FuzzBodies checks that the package can read what it writes, whatever strings are in it.
func FuzzBodies(f *testing.F) {
	f.Add("k3f9a0zz", "메시지 🎉", `{"a":[1,"<&>"]}`, uint64(3), uint8(2))
	f.Add("", "\"\\\x00\u2028", ``, uint64(0), uint8(0))
	f.Add("a\xff", " x ", `{}`, uint64(1<<53), uint8(200))
	f.Fuzz(func(t *testing.T, a, b, object string, n uint64, count uint8) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			a, b = strings.ToValidUTF8(a, "\ufffd"), strings.ToValidUTF8(b, "\ufffd")
		}
		var data json.RawMessage
		if CheckObject([]byte(object)) == nil && len(object) <= maxDataBytes {
			data = compacted([]byte(object))
		}
		rooms := []string{a, b}
		edge, ended, state := EdgeNotice{a}, Ended{Reason: a, Rooms: rooms, Assignment: n}, State{ID: a, From: b, Rev: n, Rooms: rooms, User: b, Data: data}
		noticed(t, edge.Body(EventDisconnecting), edge)
		noticed(t, ended.Body(), ended)
		filled := state
		filled.Data = orEmpty(data)
		noticed(t, state.Body(), filled)

		request := Request{Query: map[string]string{a: b}, Headers: map[string]string{b: a}, Address: a, URL: b}
		noticed(t, Connect(AppendHandshake([]byte(ConnectHead), a, data, time.UnixMilli(int64(n>>16)), "websocket", request.JSON()), &state), struct {
			ID       string          `json:"sid"`
			Auth     json.RawMessage `json:"auth"`
			Issued   int64           `json:"issued"`
			Handover State           `json:"handover"`
			Request
		}{a, orEmpty(data), int64(n >> 16), filled, request})

		answer := Answer{Edge: a, Sockets: int(count), Rev: &n}
		back, err := ParseAnswer(answer.Body())
		if answer.Rest = back.Rest; err != nil || !reflect.DeepEqual(back, answer) {
			t.Errorf("%s: %+v, %v", answer.Body(), back, err)
		}
		handed := HandedOver{Edge: a, Sockets: int(count), Markers: rooms}
		if back, err := ParseHandedOver(handed.Body()); err != nil || !reflect.DeepEqual(back, handed) {
			t.Errorf("%s: %+v, %v", handed.Body(), back, err)
		}
		admission := Grant{Rooms: rooms, User: b, Data: data}
		if back, _, err := ParseAdmission(admission.Body()); FitsHeader(b) && (err != nil || !reflect.DeepEqual(back, admission)) {
			t.Errorf("%s: %+v, %v", admission.Body(), back, err)
		}
		if name, err := Instance(InstanceBody(b)); err != nil || name != b {
			t.Errorf("%s: %q, %v", InstanceBody(b), name, err)
		}
		inParts(t, FetchedSocket{ID: a, Namespace: b, Rooms: rooms, User: b, Data: orEmpty(data), Handshake: request.JSON()}, int(count))
	})
}

// inParts writes the same socket many times, in parts of the minimum size, and reads them.
func inParts(t *testing.T, f FetchedSocket, count int) {
	p, limit := NewParts(Answer{Edge: "k3f9a0zz", Sockets: count}, false, 1000), 900
	read := 0
	part := func(last bool) {
		body, header := p.Finish(last)
		a, err := ParseAnswer(body)
		if err != nil || a.Sockets != count || IsLastPart(header) != last {
			t.Fatalf("%s, %q: %v", body, header, err)
		}
		for _, element := range a.Rest {
			var back FetchedSocket
			if err := json.Unmarshal(element, &back); err != nil || !back.Incomplete && !reflect.DeepEqual(back, f) {
				t.Fatalf("%s: %v", element, err)
			}
			read++
		}
	}
	for range count {
		for !p.Add(f.Element(p.Room(limit))) {
			part(false)
		}
	}
	if part(true); read != count {
		t.Errorf("%d sockets of %d", read, count)
	}
}

// noticed reads a notice, and compares it with its source.
func noticed[T any](t *testing.T, body []byte, want T) {
	t.Helper()
	var back T
	if err := ParseNotice(body, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%s: %+v, %v, want %+v", body, back, err, want)
	}
}

// compacted returns JSON as encoding/json writes it inside a value.
func compacted(object json.RawMessage) json.RawMessage { return encode(object) }
