package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestFetchTellsAllOfASocket(t *testing.T) {
	s := begin(t, usual())
	asked := s.hear("sio.door.on.connect")
	s.serve("door", `[{"user":"ann \"A\"","rooms":["order.7","a b"],"data":{"plan": "pro"}}]`)
	c := s.Dial("c")
	id := c.Connect("/door", `{"token":"x"}`)
	var connect []json.RawMessage
	if err := json.Unmarshal(asked.Next().Data, &connect); err != nil {
		t.Fatal(err)
	}
	a := s.Enter("a", "/chat")
	for _, body := range []string{"", "[]", " [ ]\n"} {
		got := s.tell(1, "sio.door.fetch.socket."+id, body).rest
		want := fmt.Sprintf(`{"id":"%s","namespace":"/door","rooms":["order.7","a b"],"user":"ann \"A\"","data":{"plan": "pro"},"handshake":%s}`, id, connect[1])
		if len(got) != 1 || string(got[0]) != want {
			t.Fatalf("fetch returned\n%s, want\n%s", got, want)
		}
	}
	got := s.tell(1, "sio.chat.fetch.socket."+a.ID, "").rest
	if want := fmt.Sprintf(`{"id":"%s","namespace":"/chat","rooms":[],"data":{},"handshake":{"sid":"%[1]s","auth":{},`, a.ID); !strings.HasPrefix(string(got[0]), want) {
		t.Fatalf("fetch returned\n%s, want\n%s…", got, want)
	}
}

func TestFetchOfTargets(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	s.join(a, `["vip","x"]`)
	s.join(b, `["vip"]`)
	for _, q := range []struct {
		subject string
		want    []string
		headers []string
	}{
		{"sio.chat.fetch.all", idsOf(a, b, c), nil},
		{"sio.chat.fetch.room.vip", idsOf(a, b), nil},
		{"sio.chat.fetch.room.nobody", nil, nil},
		{"sio.chat.fetch.socket." + c.ID, idsOf(c), nil},
		{"sio._.fetch.all", idsOf(root), nil},
		{"sio.nowhere.fetch.all", nil, nil},
		{"sio.chat.fetch.all", idsOf(b, c), []string{"Sio-Except: x"}},
		{"sio.chat.fetch.all", idsOf(a, c), []string{"Sio-Rooms: x", "Sio-Rooms: " + c.ID, "Sio-Rooms: " + root.ID}},
		{"sio.chat.fetch.all", nil, []string{"Sio-Rooms: nobody"}},
		{"sio.chat.fetch.room.vip", idsOf(b), []string{"Sio-Except: " + a.ID}},
	} {
		got := s.tell(1, q.subject, "", q.headers...)
		if ids := got.ids(t); !slices.Equal(ids, q.want) || got.sockets[s.ID] != len(q.want) {
			t.Errorf("%s %v returned %v (%v), want %v", q.subject, q.headers, ids, got.sockets, q.want)
		}
	}
	if f := s.tell(1, "sio.chat.fetch.all", "").socketsOf(t)[a.ID]; !slices.Equal(f.Rooms, []string{"vip", "x"}) {
		t.Errorf("a is in %v", f.Rooms)
	}
	b.Hangup()
	s.Counts("sockets", "", 3)
	if ids := s.tell(1, "sio.chat.fetch.room.vip", "").ids(t); !slices.Equal(ids, idsOf(a)) {
		t.Errorf("after b has gone: %v", ids)
	}
	s.onlyMarker(a, c)
}

func TestDataIsSetAndGot(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(b, `["vip"]`)
	get := func(subject string, headers ...string) map[string]string {
		t.Helper()
		list := map[string]string{}
		for _, raw := range s.tell(1, subject, "", headers...).rest {
			id, data, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(string(raw), `{"id":"`), "}"), `","data":`)
			list[id] = data
		}
		return list
	}
	check := func(got map[string]string, pairs ...string) {
		t.Helper()
		want := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			want[pairs[i]] = pairs[i+1]
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	check(get("sio.chat.data.all"), a.ID, "{}", b.ID, "{}")
	s.change("sio.chat.data.socket."+a.ID, ` [ {"n": 1.0, "나": null} ] `, 1)
	check(get("sio.chat.data.socket."+a.ID), a.ID, `{"n": 1.0, "나": null}`)
	s.change("sio.chat.data.all", `[{"x":[]}]`, 2) // replaces
	check(get("sio.chat.data.all"), a.ID, `{"x":[]}`, b.ID, `{"x":[]}`)
	s.change("sio.chat.data.room.vip", `[{}]`, 1)
	s.change("sio.chat.data.all", `[{"but":"b"}]`, 1, "Sio-Except: vip")
	check(get("sio.chat.data.all"), a.ID, `{"but":"b"}`, b.ID, `{}`)
	check(get("sio.chat.data.room.vip"), b.ID, `{}`)
	check(get("sio.chat.data.all", "Sio-Rooms: "+a.ID), a.ID, `{"but":"b"}`)
	for _, value := range []string{`null`, `"x"`, `7`, `[ 1, {}]`} {
		s.change("sio.chat.data.socket."+a.ID, "[ "+value+" ]", 1)
		check(get("sio.chat.data.socket."+a.ID), a.ID, value)
	}
	s.change("sio.chat.data.room.nobody", `[{}]`, 0)
	s.change("sio.nowhere.data.all", `[{}]`, 0)
	check(get("sio.nowhere.data.all"))
	s.Publish("sio.chat.data.socket."+a.ID, `[{"nobody":"asks"}]`) // it works without a reply subject, too
	check(get("sio.chat.data.socket."+a.ID), a.ID, `{"nobody":"asks"}`)
	if f := s.tell(1, "sio.chat.fetch.socket."+a.ID, "").socketsOf(t)[a.ID]; string(f.Data) != `{"nobody":"asks"}` {
		t.Errorf("fetch returns the data %s", f.Data)
	}
	s.onlyMarker(a, b)
}

func TestLimitOfData(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	object := func(size int) string { return `{"x":"` + strings.Repeat("x", size-len(`{"x":""}`)) + `"}` }
	s.change("sio.chat.data.all", "[ "+object(65536)+" ]", 1)
	for _, subject := range []string{"sio.chat.data.all", "sio.chat.data.socket." + a.ID} {
		answer := s.Ask(subject, "["+object(65537)+"]")
		if got := answer.Header.Get("Sio-Error"); got != "data of 65537 bytes; the limit is 65536" {
			t.Errorf("%s: %q", subject, got)
		}
	}
	got := s.tell(1, "sio.chat.data.all", "")
	if want := `{"id":"` + a.ID + `","data":` + object(65536) + `}`; string(got.rest[0]) != want {
		t.Errorf("the data is %.100s", got.rest[0])
	}
	// The same for the data of an admission.
	s.serve("door", `[{"data":`+object(65537)+`}]`)
	c := s.Dial("c")
	c.Send("40/door,")
	c.Expect(`44/door,{"message":"invalid answer"}`)
}

func TestRoomsCountsTheSocketsOfTheTarget(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat")
	s.join(a, `["vip","order.1","a \"b\"",""]`)
	s.join(b, `["vip","order.1"]`)
	s.join(c, `["vip"]`)
	for _, q := range []struct {
		subject, want string
		sockets       int
		headers       []string
	}{
		{"sio.chat.rooms.all", `{"vip":3,"order.1":2,"a \"b\"":1,"":1}`, 3, nil},
		{"sio.chat.rooms.room.order.1", `{"vip":2,"order.1":2,"a \"b\"":1,"":1}`, 2, nil},
		{"sio.chat.rooms.socket." + b.ID, `{"vip":1,"order.1":1}`, 1, nil},
		{"sio.chat.rooms.all", `{"vip":2,"order.1":1}`, 2, []string{"Sio-Except: " + a.ID}},
		{"sio.chat.rooms.all", `{"vip":1}`, 1, []string{"Sio-Rooms: " + c.ID}},
		{"sio.chat.rooms.room.nobody", `{}`, 0, nil},
		{"sio.nowhere.rooms.all", `{}`, 0, nil},
	} {
		got := s.tell(1, q.subject, "[]", q.headers...)
		var is, want map[string]int
		_ = json.Unmarshal([]byte(q.want), &want)
		if len(got.rest) != 1 || json.Unmarshal(got.rest[0], &is) != nil || !maps.Equal(is, want) || got.sockets[s.ID] != q.sockets {
			t.Errorf("%s %v: %s %v, want %s %d", q.subject, q.headers, got.rest, got.sockets, q.want, q.sockets)
		}
	}
	s.onlyMarker(a, b, c)
}

func TestQuestionsAboutUnknownSockets(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	for _, verb := range []string{"fetch", "data", "rooms"} {
		s.fails("sio.chat."+verb+".socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", "", "unknown socket")
		s.fails("sio._."+verb+".socket."+a.ID, "", "unknown socket") // not its namespace
	}
	s.fails("sio._.data.socket."+a.ID, `[{"x":1}]`, "unknown socket")
	if f := s.tell(1, "sio.chat.fetch.all", "", "Sio-Except: x").socketsOf(t)[a.ID]; string(f.Data) != "{}" {
		t.Errorf("the data is %s", f.Data)
	}
}

// A socket exists for questions once it is admitted. Until then no question finds it.
func TestQuestionsAboutASocketThatIsNotAdmitted(t *testing.T) {
	s := begin(t, usual())
	asked := s.hear("sio.door.on.connect")
	c := s.Dial("c")
	c.Send("40/door,")
	request := asked.Next()
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	for _, verb := range []string{"fetch", "data", "rooms"} {
		s.fails("sio.door."+verb+".socket."+id, "", "unknown socket")
	}
	s.fails("sio.door.data.socket."+id, "[{}]", "unknown socket")
	s.change("sio.door.join.socket."+id, `["x"]`, 1)
	for _, target := range []string{"all", "room.x"} {
		if got := s.tell(1, "sio.door.fetch."+target, ""); got.sockets[s.ID] != 0 || len(got.rest) > 0 {
			t.Errorf("fetch of %s returns %v %s", target, got.sockets, got.rest)
		}
	}
	if err := request.Respond([]byte("[]")); err != nil {
		t.Fatal(err)
	}
	c.Expect(`40/door,{"sid":"` + id + `"}`)
	if f := s.tell(1, "sio.door.fetch.room.x", "").socketsOf(t)[id]; !slices.Equal(f.Rooms, []string{"x"}) {
		t.Errorf("it is in %v", f.Rooms)
	}
}

func TestBadQuestions(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	for _, target := range []string{"all", "room.x", "socket." + a.ID} {
		for body, reason := range map[string]string{"x": "JSON", "{}": "array", "null": "array", "[1]": "must be empty or []", "[[]]": "must be empty", "[\"\xff\"]": "UTF-8"} {
			s.fails("sio.chat.fetch."+target, body, reason)
			s.fails("sio.chat.rooms."+target, body, reason)
		}
		for body, reason := range map[string]string{
			"x": "JSON", "{}": "array", "[{},{}]": "body of data", "[1,2]": "body of data", "[\"\xff\"]": "UTF-8",
		} {
			s.fails("sio.chat.data."+target, body, reason)
		}
	}
	s.onlyMarker(a)
}

func TestQuestionsReachAllEdges(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	s.Ask("sio.chat.join.socket."+so[0].ID, `["x"]`)
	s.Ask("sio.chat.join.socket."+so[2].ID, `["x","y"]`)
	if ids := s.tell(3, "sio.chat.fetch.all", "").ids(t); !slices.Equal(ids, idsOf(so...)) {
		t.Errorf("fetch of all returns %v", ids)
	}
	got := s.tell(3, "sio.chat.fetch.room.x", "")
	if ids := got.ids(t); !slices.Equal(ids, idsOf(so[0], so[2])) || got.sockets[edges[1].ID] != 0 || len(got.sockets) != 3 {
		t.Errorf("fetch of a room returns %v, %v", ids, got.sockets)
	}
	if ids := s.tell(1, "sio.chat.fetch.socket."+so[1].ID, "").ids(t); !slices.Equal(ids, idsOf(so[1])) {
		t.Errorf("fetch of a socket returns %v", ids)
	}
	set := s.tell(3, "sio.chat.data.room.y", `[{"y":1}]`)
	if want := map[string]int{edges[0].ID: 0, edges[1].ID: 0, edges[2].ID: 1}; !maps.Equal(set.sockets, want) {
		t.Errorf("data was set at %v", set.sockets)
	}
	list := s.tell(3, "sio.chat.data.all", "", "Sio-Except: "+so[0].ID).socketsOf(t)
	if len(list) != 2 || string(list[so[2].ID].Data) != `{"y":1}` || string(list[so[1].ID].Data) != `{}` {
		t.Errorf("the data is %v", list)
	}
	sums := map[string]int{}
	for _, raw := range s.tell(3, "sio.chat.rooms.all", "").rest {
		var rooms map[string]int
		if err := json.Unmarshal(raw, &rooms); err != nil {
			t.Fatal(err)
		}
		for room, n := range rooms {
			sums[room] += n
		}
	}
	if !maps.Equal(sums, map[string]int{"x": 2, "y": 1}) {
		t.Errorf("the rooms are %v", sums)
	}
	s.onlyMarker(so...)
}
