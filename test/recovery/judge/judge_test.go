package judge

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// always is the span of a room that was never left.
func always(room string) Span { return Span{Room: room, SureTo: Never, To: Never} }

func at(seq uint64) Pos { return Pos{0, seq} }

// made is a log with every kind of target. Client ann is in the rooms a and b; bob is another socket.
func made() *Log {
	return &Log{Epochs: []string{"old00", "new00"}, Entries: []Entry{
		{Pos: at(1), ID: "1", All: true},
		{Pos: at(2), ID: "2", Room: "a"},
		{Pos: at(3), ID: "3", Room: "c"},
		{Pos: at(4), ID: "4", Socket: "x.ann"},
		{Pos: at(5), ID: "5", Socket: "x.bob"},
		{Pos: at(6), ID: "6", All: true, Rooms: []string{"c", "b"}},
		{Pos: at(7), ID: "7", All: true, Rooms: []string{"c"}},
		{Pos: at(8), ID: "8", All: true, Rooms: []string{"x.ann", "c"}},
		{Pos: at(9), ID: "9", All: true, Except: []string{"x.ann"}},
		{Pos: at(10), ID: "10", Room: "a", Except: []string{"b"}},
		{Pos: at(11), ID: "11", Room: "a", Except: []string{"x.bob"}},
		{Pos: at(12), ID: "12", All: true, Volatile: true},
		{Pos: Pos{1, 1}, ID: "13", All: true},
	}}
}

// ann received the events with some ids, and for them alone: 1, 2, 4, 6, 8, 11, 12 and 13.
func ann(ids string) *Session {
	s := &Session{Client: "ann", ID: "x.ann", Rooms: []Span{always("a"), always("b")}}
	for id := range strings.FieldsSeq(ids) {
		g := Got{ID: id}
		switch n, _ := strconv.ParseUint(id, 10, 64); {
		case id == "13":
			g.Offset = "new00:1"
		default:
			g.Offset = "old00:" + strconv.FormatUint(n, 36)
		}
		s.Got = append(s.Got, g)
	}
	return s
}

func TestJudge(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"all", "1 2 4 6 8 11 12 13", ""},
		{"all but the volatile one", "1 2 4 6 8 11 13", ""},
		{"nothing", "", "7 lost"},
		{"a hole", "1 2 6 8 11 13", "1 lost"},
		{"the last", "1 2 4 6 8 11", "1 lost"},
		{"doubled", "1 2 2 4 6 8 11 13", "1 doubled"},
		{"doubled later", "1 2 4 6 8 11 13 2", "1 doubled"},
		{"reordered", "1 4 2 6 8 11 13", "1 reordered"},
		{"eras reordered", "13 1 2 4 6 8 11", "6 reordered"},
		{"another's room", "1 2 3 4 6 8 11 13", "1 foreign"},
		{"another's event", "1 2 4 5 6 8 11 13", "1 foreign"},
		{"excepted", "1 2 4 6 8 9 10 11 13", "2 foreign"},
	} {
		if v := made().Judge(ann(c.got)); summary(v) != c.want {
			t.Errorf("%s: %q, want %q; %v", c.name, summary(v), c.want, v.Examples)
		}
	}
}

// summary has the counts that are not 0.
func summary(v *Verdict) string {
	var all []string
	for _, part := range strings.Split(strings.SplitN(v.String(), ": ", 2)[1], ", ") {
		if !strings.HasPrefix(part, "0 ") && !strings.HasSuffix(part, " late") {
			all = append(all, part)
		}
	}
	if (len(all) == 0) != v.OK() {
		return "OK is wrong"
	}
	return strings.Join(all, ", ")
}

func TestOffsets(t *testing.T) {
	for _, offset := range []string{"", "x", "old00", "old00:", "old00:01", "old00:-1", "old00: 1", "old00:Z", "none0:1", "old00:1 "} {
		s := ann("1 2 4 6 8 11 13")
		s.Got[0].Offset = offset
		l := made()
		if offset == "" { // with a stream that was deleted it may be a volatile event of that
			l.Epochs = l.Epochs[:1]
			s.Got, l.Entries = s.Got[:6], l.Entries[:12]
		}
		v := l.Judge(s)
		if v.Offsets != 1 || v.Lost != 1 {
			t.Errorf("%q: %s", offset, v)
		}
	}
	s := ann("1 2 4 6 8 11 13")
	s.Got[0].Offset = "new00:zz"
	if v := made().Judge(s); v.Foreign != 1 {
		t.Errorf("an event that is not in the log: %s", v)
	}
}

// A position says that all before it was received: what comes after it must be newer.
func TestPositions(t *testing.T) {
	for seq, want := range map[string]string{"3": "", "2": "", "1": "1 wrong offsets", "4": "1 reordered"} {
		s := ann("1 2 4 6 8 11 13")
		s.Got = append(s.Got[:2:2], append([]Got{{ID: "live", Offset: "old00:" + seq, Live: true}}, s.Got[2:]...)...)
		if v := made().Judge(s); summary(v) != want {
			t.Errorf("position %s: %q, want %q", seq, summary(v), want)
		}
	}
}

// An event that comes behind later ones has the position of those, once.
func TestLate(t *testing.T) {
	for offset, want := range map[string]string{"old00:6": "1 late", "old00:7": "1 late", "old00:2": "1 reordered", "": "1 wrong offsets"} {
		s := ann("1 4 6 2 8 11 13")
		s.Got[3].Offset = offset
		v := made().Judge(s)
		if v.Offsets > 0 { // then it is taken for no event of the log
			v.Lost--
		}
		if got := strings.TrimPrefix(summary(v)+fmt.Sprintf(", %d late", v.Late), ", "); got != want && got != want+", 0 late" {
			t.Errorf("%q: %s, want %s", offset, got, want)
		}
	}
	s := ann("1 2 4 6 2 8 11 13")
	s.Got[4].Offset = "old00:6"
	if v := made().Judge(s); summary(v) != "1 doubled" {
		t.Error(v)
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		from, sureFrom, sureTo, to uint64
		got, want                  string
	}{
		{0, 0, 2, 2, "2", ""},
		{0, 0, 2, 2, "", "1 lost"},
		{0, 0, 11, 11, "2", "1 lost"},
		{2, 2, 11, 11, "11", ""},            // entered behind 2
		{2, 2, 11, 11, "2 11", "1 foreign"}, // and got 2 all the same
		{1, 2, 11, 11, "2 11", ""},          // entered perhaps in front of 2
		{1, 2, 11, 11, "11", ""},
		{0, 0, 2, 10, "2 11", "1 foreign"}, // left in front of 11
		{0, 0, 2, 11, "2 11", ""},          // perhaps behind it
		{0, 0, 2, 11, "2", ""},
	} {
		l, s := made(), ann(c.got)
		s.Rooms[0] = Span{"a", at(c.from), at(c.sureFrom), at(c.sureTo), at(c.to)}
		for i := range l.Entries { // only those of the room count
			l.Entries[i].Volatile = l.Entries[i].Room != "a"
		}
		if v := l.Judge(s); summary(v) != c.want {
			t.Errorf("%v: %q, want %q; %v", c, summary(v), c.want, v.Examples)
		}
	}
}

// Of a session that was followed by another, what came after its last event is not lost, but a hole in it is.
func TestEndedSessions(t *testing.T) {
	for got, want := range map[string]string{"1 2 4": "", "1 4": "1 lost", "": ""} {
		s := ann(got)
		s.Ended = true
		if v := made().Judge(s); summary(v) != want {
			t.Errorf("%q: %q, want %q", got, summary(v), want)
		}
	}
}

// A volatile event needs no offset.
func TestVolatileEvents(t *testing.T) {
	s := ann("1 2 4 6 8 11 12 13")
	s.Got[6].Offset = ""
	if v := made().Judge(s); !v.OK() {
		t.Error(v)
	}
}

// The end of a stream that was deleted may be unread.
func TestUnread(t *testing.T) {
	s := ann("1 2 4 6 8 11 12 13")
	for offset, want := range map[string]string{"old00:z": "", "old00:1": "1 wrong offsets", "new00:z": "1 foreign"} {
		s.Got[6] = Got{ID: "x", Offset: offset}
		if offset == "new00:z" {
			s.Got[6], s.Got[7] = s.Got[7], s.Got[6]
		}
		if v := made().Judge(s); summary(v) != want {
			t.Errorf("%s: %q, want %q; %v", offset, summary(v), want, v.Examples)
		}
		s = ann("1 2 4 6 8 11 12 13")
	}
}

func TestSessionsBegin(t *testing.T) {
	s := ann("6 8 11 13")
	s.SureFrom = at(5)
	if v := made().Judge(s); !v.OK() || v.Expected != 4 {
		t.Error(v)
	}
}

func TestStrays(t *testing.T) {
	for _, c := range []struct {
		offset string
		before int
		want   string
	}{
		{"old00:2", 2, ""},         // older than 4, the first over the new connection
		{"old00:4", 2, "1 strays"}, // the same
		{"old00:6", 2, "1 strays"}, // newer
		{"old00:4", 3, ""},         // the new connection's first is 6
		{"new00:1", 2, "1 strays"}, // of the next era
		{"new00:1", 99, ""},        // nothing came over the new connection
		{"not an offset", 2, ""},
	} {
		s := ann("1 2 4 6 8 11 13")
		s.Strays = []Stray{{c.offset, c.before}}
		if v := made().Judge(s); summary(v) != c.want {
			t.Errorf("%v: %q, want %q", c, summary(v), c.want)
		}
	}
}

func TestAdd(t *testing.T) {
	var sum Verdict
	for range 2 {
		sum.Add(&Verdict{1, 2, 3, 4, 5, 6, 7, 8, 9, []string{"x"}})
	}
	if want := fmt.Sprint(Verdict{2, 4, 6, 8, 10, 12, 14, 16, 18, []string{"x", "x"}}); fmt.Sprint(sum) != want {
		t.Errorf("%v, want %s", sum, want)
	}
}
