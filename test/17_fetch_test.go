package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/edge"
	"partyline/edge/edgetest"
)

// told is what edges answered to fetch, data or rooms, their parts put together.
type told struct {
	sockets map[string]int // by edge: what it says
	rest    []json.RawMessage
	parts   map[string]int // by edge
}

// tell asks and takes the whole answers of so many edges.
func (s *stage) tell(edges int, subject, body string, headers ...string) told {
	s.t.Helper()
	ear := s.request(subject, body, headers...)
	got := told{map[string]int{}, nil, map[string]int{}}
	for finished := 0; finished < edges; {
		m := ear.next()
		var list []json.RawMessage
		var first struct {
			Edge    string
			Sockets int
		}
		if err := json.Unmarshal(m.Data, &list); err != nil || len(list) == 0 || json.Unmarshal(list[0], &first) != nil {
			s.t.Fatalf("%s was answered %.200q %v", subject, m.Data, m.Header)
		}
		part, many := m.Header["Sio-Part"]
		got.parts[first.Edge]++
		number, last := fmt.Sprint(got.parts[first.Edge]), true
		if many {
			_, last = strings.CutSuffix(part[0], " last")
			if want := number + strings.Repeat(" last", btoi(last)); part[0] != want {
				s.t.Fatalf("part %s is called %q", number, part[0])
			}
			if len(m.Data) > 262144 && len(list) > 2 {
				s.t.Fatalf("part %s has %d bytes", number, len(m.Data))
			}
		}
		if n, before := got.sockets[first.Edge]; before && (n != first.Sockets || !many) {
			s.t.Fatalf("part %s of %s says %d, an earlier one %d", number, subject, first.Sockets, n)
		}
		got.sockets[first.Edge] = first.Sockets
		got.rest = append(got.rest, list[1:]...)
		if last {
			finished++
		}
	}
	if n, _, _ := ear.sub.Pending(); n > 0 {
		s.t.Fatalf("more came: %v", ear.next())
	}
	return got
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fetched is what fetch tells of a socket; the handshake has a test of its own.
type fetched struct {
	ID, Namespace, User string
	Rooms               []string
	Data, Handshake     json.RawMessage
	Incomplete          bool
}

// sockets reads the objects of a fetch, by id.
func (g told) socketsOf(t *testing.T) map[string]fetched {
	t.Helper()
	list := map[string]fetched{}
	for _, raw := range g.rest {
		var f fetched
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		slices.Sort(f.Rooms)
		list[f.ID] = f
	}
	if len(list) != len(g.rest) {
		t.Fatalf("%d objects of %d sockets", len(g.rest), len(list))
	}
	total := 0
	for _, n := range g.sockets {
		total += n
	}
	if total != len(list) {
		t.Fatalf("the edges say that they tell of %d sockets, it is %d", total, len(list))
	}
	return list
}

// ids are the sockets that a fetch tells of, sorted.
func (g told) ids(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(g.socketsOf(t)))
}

func idsOf(sockets ...*socket) (ids []string) {
	for _, so := range sockets {
		ids = append(ids, so.id)
	}
	slices.Sort(ids)
	return ids
}

func TestFetchTellsAllOfASocket(t *testing.T) {
	s := begin(t, usual())
	asked := s.hear("sio.door.on.connect")
	s.serve("door", `[{"user":"ann \"A\"","rooms":["order.7","a b"],"data":{"plan": "pro"}}]`)
	c := s.Dial("c")
	id := c.Connect("/door", `{"token":"x"}`)
	var connect []json.RawMessage
	if err := json.Unmarshal(asked.next().Data, &connect); err != nil {
		t.Fatal(err)
	}
	a := s.enter("a", "/chat")
	for _, body := range []string{"", "[]", " [ ]\n"} {
		got := s.tell(1, "sio.door.fetch.socket."+id, body).rest
		want := fmt.Sprintf(`{"id":"%s","namespace":"/door","rooms":["order.7","a b"],"user":"ann \"A\"","data":{"plan": "pro"},"handshake":%s}`, id, connect[1])
		if len(got) != 1 || string(got[0]) != want {
			t.Fatalf("fetch told\n%s, want\n%s", got, want)
		}
	}
	got := s.tell(1, "sio.chat.fetch.socket."+a.id, "").rest
	if want := fmt.Sprintf(`{"id":"%s","namespace":"/chat","rooms":[],"data":{},"handshake":{"sid":"%[1]s","auth":{},`, a.id); !strings.HasPrefix(string(got[0]), want) {
		t.Fatalf("fetch told\n%s, want\n%s…", got, want)
	}
}

func TestFetchOfTargets(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.enter("a", "/chat"), s.enter("b", "/chat"), s.enter("c", "/chat")
	root := also(a.Client, "/")
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
		{"sio.chat.fetch.socket." + c.id, idsOf(c), nil},
		{"sio._.fetch.all", idsOf(root), nil},
		{"sio.nowhere.fetch.all", nil, nil},
		{"sio.chat.fetch.all", idsOf(b, c), []string{"Sio-Except: x"}},
		{"sio.chat.fetch.all", idsOf(a, c), []string{"Sio-Rooms: x", "Sio-Rooms: " + c.id, "Sio-Rooms: " + root.id}},
		{"sio.chat.fetch.all", nil, []string{"Sio-Rooms: nobody"}},
		{"sio.chat.fetch.room.vip", idsOf(b), []string{"Sio-Except: " + a.id}},
	} {
		got := s.tell(1, q.subject, "", q.headers...)
		if ids := got.ids(t); !slices.Equal(ids, q.want) || got.sockets[s.ID] != len(q.want) {
			t.Errorf("%s %v told of %v (%v), want %v", q.subject, q.headers, ids, got.sockets, q.want)
		}
	}
	if f := s.tell(1, "sio.chat.fetch.all", "").socketsOf(t)[a.id]; !slices.Equal(f.Rooms, []string{"vip", "x"}) {
		t.Errorf("a is in %v", f.Rooms)
	}
	b.Hangup()
	s.counts("sockets", "", 3)
	if ids := s.tell(1, "sio.chat.fetch.room.vip", "").ids(t); !slices.Equal(ids, idsOf(a)) {
		t.Errorf("after b has gone: %v", ids)
	}
	s.onlyMarker(a, c)
}

func TestDataIsSetAndGot(t *testing.T) {
	s := begin(t, usual())
	a, b := s.enter("a", "/chat"), s.enter("b", "/chat")
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
	check(get("sio.chat.data.all"), a.id, "{}", b.id, "{}")
	s.change("sio.chat.data.socket."+a.id, ` [ {"n": 1.0, "나": null} ] `, 1)
	check(get("sio.chat.data.socket."+a.id), a.id, `{"n": 1.0, "나": null}`)
	s.change("sio.chat.data.all", `[{"x":[]}]`, 2) // replaces
	check(get("sio.chat.data.all"), a.id, `{"x":[]}`, b.id, `{"x":[]}`)
	s.change("sio.chat.data.room.vip", `[{}]`, 1)
	s.change("sio.chat.data.all", `[{"but":"b"}]`, 1, "Sio-Except: vip")
	check(get("sio.chat.data.all"), a.id, `{"but":"b"}`, b.id, `{}`)
	check(get("sio.chat.data.room.vip"), b.id, `{}`)
	check(get("sio.chat.data.all", "Sio-Rooms: "+a.id), a.id, `{"but":"b"}`)
	s.change("sio.chat.data.room.nobody", `[{}]`, 0)
	s.change("sio.nowhere.data.all", `[{}]`, 0)
	check(get("sio.nowhere.data.all"))
	s.publish("sio.chat.data.socket."+a.id, `[{"nobody":"asks"}]`) // done all the same
	check(get("sio.chat.data.socket."+a.id), a.id, `{"nobody":"asks"}`)
	if f := s.tell(1, "sio.chat.fetch.socket."+a.id, "").socketsOf(t)[a.id]; string(f.Data) != `{"nobody":"asks"}` {
		t.Errorf("fetch tells the data %s", f.Data)
	}
	s.onlyMarker(a, b)
}

func TestLimitOfData(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	object := func(size int) string { return `{"x":"` + strings.Repeat("x", size-len(`{"x":""}`)) + `"}` }
	s.change("sio.chat.data.all", "[ "+object(65536)+" ]", 1)
	for _, subject := range []string{"sio.chat.data.all", "sio.chat.data.socket." + a.id} {
		answer := s.ask(subject, "["+object(65537)+"]")
		if got := answer.Header.Get("Sio-Error"); got != "data of 65537 bytes; the limit is 65536" {
			t.Errorf("%s: %q", subject, got)
		}
	}
	got := s.tell(1, "sio.chat.data.all", "")
	if want := `{"id":"` + a.id + `","data":` + object(65536) + `}`; string(got.rest[0]) != want {
		t.Errorf("the data is %.100s", got.rest[0])
	}
	// The same of an admission.
	s.serve("door", `[{"data":`+object(65537)+`}]`)
	c := s.Dial("c")
	c.Send("40/door,")
	c.Expect(`44/door,{"message":"invalid answer"}`)
}

func TestRoomsCountsTheSocketsOfTheTarget(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.enter("a", "/chat"), s.enter("b", "/chat"), s.enter("c", "/chat")
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
		{"sio.chat.rooms.socket." + b.id, `{"vip":1,"order.1":1}`, 1, nil},
		{"sio.chat.rooms.all", `{"vip":2,"order.1":1}`, 2, []string{"Sio-Except: " + a.id}},
		{"sio.chat.rooms.all", `{"vip":1}`, 1, []string{"Sio-Rooms: " + c.id}},
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

func TestQuestionsAboutNobody(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	for _, verb := range []string{"fetch", "data", "rooms"} {
		s.fails("sio.chat."+verb+".socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", "", "unknown socket")
		s.fails("sio._."+verb+".socket."+a.id, "", "unknown socket") // not its namespace
	}
	s.fails("sio._.data.socket."+a.id, `[{"x":1}]`, "unknown socket")
	if f := s.tell(1, "sio.chat.fetch.all", "", "Sio-Except: x").socketsOf(t)[a.id]; string(f.Data) != "{}" {
		t.Errorf("the data is %s", f.Data)
	}
}

// A socket is there once it is admitted: what a service is still asked about is nobody's.
func TestQuestionsAboutASocketThatIsNotAdmitted(t *testing.T) {
	s := begin(t, usual())
	asked := s.hear("sio.door.on.connect")
	c := s.Dial("c")
	c.Send("40/door,")
	request := asked.next()
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	for _, verb := range []string{"fetch", "data", "rooms"} {
		s.fails("sio.door."+verb+".socket."+id, "", "unknown socket")
	}
	s.fails("sio.door.data.socket."+id, "[{}]", "unknown socket")
	s.change("sio.door.join.socket."+id, `["x"]`, 1)
	for _, target := range []string{"all", "room.x"} {
		if got := s.tell(1, "sio.door.fetch."+target, ""); got.sockets[s.ID] != 0 || len(got.rest) > 0 {
			t.Errorf("fetch of %s tells %v %s", target, got.sockets, got.rest)
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
	a := s.enter("a", "/chat")
	for _, target := range []string{"all", "room.x", "socket." + a.id} {
		for body, reason := range map[string]string{"x": "JSON", "{}": "array", "null": "array", "[1]": "must be empty or []", "[[]]": "must be empty", "[\"\xff\"]": "UTF-8"} {
			s.fails("sio.chat.fetch."+target, body, reason)
			s.fails("sio.chat.rooms."+target, body, reason)
		}
		for body, reason := range map[string]string{
			"x": "JSON", "{}": "array", "[1]": "body of data", "[null]": "body of data", "[{},{}]": "body of data", "[[]]": "body of data", "[\"\xff\"]": "UTF-8",
		} {
			s.fails("sio.chat.data."+target, body, reason)
		}
	}
	s.onlyMarker(a)
}

// A namespace that does not fit into one message: parts in order, each object whole, together everything.
func TestAnswersInParts(t *testing.T) {
	s := begin(t, usual())
	const n = 12
	var all []*socket
	for i := range n {
		so := s.enter(fmt.Sprint("c", i), "/chat")
		all = append(all, so)
		s.change("sio.chat.data.socket."+so.id, fmt.Sprintf(`[{"i":%d,"x":"%s"}]`, i, strings.Repeat("x", 60_000)), 1)
	}
	root := s.enter("root", "/")
	for _, verb := range []string{"fetch", "data"} {
		got := s.tell(1, "sio.chat."+verb+".all", "")
		if got.parts[s.ID] != 3 { // four objects of 60 KB fit into one
			t.Errorf("%s was answered in %d parts", verb, got.parts[s.ID])
		}
		list := got.socketsOf(t)
		for i, so := range all {
			var data struct{ I int }
			if err := json.Unmarshal(list[so.id].Data, &data); err != nil || data.I != i || list[so.id].Incomplete {
				t.Errorf("%s: socket %d has %.50s", verb, i, list[so.id].Data)
			}
		}
		if got := s.tell(1, "sio.chat."+verb+".socket."+all[0].id, ""); got.parts[s.ID] != 1 {
			t.Errorf("%s of one socket was answered in %d parts", verb, got.parts[s.ID])
		}
	}
	// Rooms: the object goes on in the next part.
	want := map[string]int{}
	for i := range 3 {
		var rooms []string
		for j := range 900 {
			room := fmt.Sprintf("%d.%d.%s", i, j, strings.Repeat("r", 300))
			rooms, want[room] = append(rooms, room), 1
		}
		body, _ := json.Marshal(append(rooms, "common"))
		s.join(all[i], string(body))
	}
	want["common"] = 3
	got := s.tell(1, "sio.chat.rooms.all", "")
	is := map[string]int{}
	for _, raw := range got.rest {
		var part map[string]int
		if err := json.Unmarshal(raw, &part); err != nil {
			t.Fatal(err)
		}
		for room, count := range part {
			if _, twice := is[room]; twice {
				t.Fatalf("room %.20s is told twice", room)
			}
			is[room] = count
		}
	}
	if got.parts[s.ID] < 3 || !maps.Equal(is, want) {
		t.Errorf("%d parts with %d of %d rooms", got.parts[s.ID], len(is), len(want))
	}
	s.onlyMarker(append(all, root)...)
}

// What a client can make larger than a NATS message is left out, and the answer comes.
func TestFetchOfASocketThatDoesNotFit(t *testing.T) {
	s := begin(t, usual().with("/free", edge.Namespace{Connect: edge.ConnectOpen, Rooms: []string{"*"}}))
	so := &socket{Client: s.Dial("big"), head: "/free,", token: "free"}
	so.id = so.Connect("/free", `{"x":"`+strings.Repeat("x", 990_000)+`"}`)
	s.change("sio.free.data.socket."+so.id, `[{"x":"`+strings.Repeat("x", 60_000)+`"}]`, 1)
	small := s.enter("small", "/free")
	list := s.tell(1, "sio.free.fetch.all", "").socketsOf(t)
	if f := list[so.id]; !f.Incomplete || string(f.Handshake) != "{}" || len(f.Data) < 60_000 {
		t.Errorf("the large one is told as %.200s with %d bytes of data", f.Handshake, len(f.Data))
	}
	if f := list[small.id]; f.Incomplete || len(f.Handshake) < 100 {
		t.Errorf("the small one is told as %+v", f)
	}
	rooms := make([]string, 1000)
	for i := range rooms {
		rooms[i] = fmt.Sprint(i) + strings.Repeat("\x01", 500) // six bytes each in JSON
	}
	for some := range slices.Chunk(rooms, 250) { // NATS would not take them all
		body, _ := json.Marshal(some)
		s.join(so, string(body))
	}
	list = s.tell(1, "sio.free.fetch.all", "").socketsOf(t)
	if f := list[so.id]; !f.Incomplete || len(f.Rooms) > 0 || string(f.Handshake) != "{}" || len(f.Data) < 60_000 {
		t.Errorf("the large one is told as %.200s, in %d rooms", f.Handshake, len(f.Rooms))
	}
	if got := s.tell(1, "sio.free.rooms.all", ""); got.sockets[s.ID] != 2 || got.parts[s.ID] < 10 {
		t.Errorf("rooms: %v in %v parts", got.sockets, got.parts)
	}
}

func TestQuestionsReachAllEdges(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	s.ask("sio.chat.join.socket."+so[0].id, `["x"]`)
	s.ask("sio.chat.join.socket."+so[2].id, `["x","y"]`)
	if ids := s.tell(3, "sio.chat.fetch.all", "").ids(t); !slices.Equal(ids, idsOf(so...)) {
		t.Errorf("fetch of all tells of %v", ids)
	}
	got := s.tell(3, "sio.chat.fetch.room.x", "")
	if ids := got.ids(t); !slices.Equal(ids, idsOf(so[0], so[2])) || got.sockets[edges[1].ID] != 0 || len(got.sockets) != 3 {
		t.Errorf("fetch of a room tells of %v, %v", ids, got.sockets)
	}
	if ids := s.tell(1, "sio.chat.fetch.socket."+so[1].id, "").ids(t); !slices.Equal(ids, idsOf(so[1])) {
		t.Errorf("fetch of a socket tells of %v", ids)
	}
	set := s.tell(3, "sio.chat.data.room.y", `[{"y":1}]`)
	if want := map[string]int{edges[0].ID: 0, edges[1].ID: 0, edges[2].ID: 1}; !maps.Equal(set.sockets, want) {
		t.Errorf("data was set at %v", set.sockets)
	}
	list := s.tell(3, "sio.chat.data.all", "", "Sio-Except: "+so[0].id).socketsOf(t)
	if len(list) != 2 || string(list[so[2].id].Data) != `{"y":1}` || string(list[so[1].id].Data) != `{}` {
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

// Many questions at once are all answered, in their order.
func TestManyQuestionsAtOnce(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	inbox := nats.NewInbox()
	ear := s.hear(inbox)
	const n = 2000
	for i := range n {
		s.publishReply("sio.chat.data.socket."+a.id, inbox, fmt.Sprintf(`[{"i":%d}]`, i))
		s.publishReply("sio.chat.data.all", inbox, "")
	}
	sets, gets, last := 0, 0, -1
	for sets+gets < 2*n {
		m := ear.next()
		if string(m.Data) == fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, s.ID) {
			sets++
			continue
		}
		gets++
		var answer []struct{ Data struct{ I int } }
		if err := json.Unmarshal(m.Data, &answer); err != nil || len(answer) != 2 || answer[1].Data.I < last || answer[1].Data.I < gets-1 {
			t.Fatalf("answer %d is %q %v", gets, m.Data, m.Header)
		}
		last = answer[1].Data.I
	}
	edgetest.Eventually(t, "the edge is done", func() bool { return figure(s.Bus.Metrics(), "nats_answers_dropped_total", "") == 0 })
}
