package msg

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRooms(t *testing.T) {
	for body, want := range map[string][]string{
		`["vip"]`:                             {"vip"},
		` [ "vip" , "a" ] `:                   {"vip", "a"},
		`["","a.b","\uba54\ud83c\udf89","]"]`: {"", "a.b", "메🎉", "]"},
	} {
		if rooms, err := Rooms([]byte(body)); err != nil || !slices.Equal(rooms, want) {
			t.Errorf("Rooms(%q) = %q, %v", body, rooms, err)
		}
	}
	for body, want := range map[string]error{
		`[]`:               errRooms,
		`["a",1]`:          errRooms,
		`[["a"]]`:          errRooms,
		`["a",null]`:       errRooms,
		`["a","\ud800"]`:   errLoneSurrogate,
		`["a","\ud800",1]`: errRooms,
		`{}`:               ErrNotArray,
		`"a"`:              ErrNotArray,
		``:                 ErrNotJSON,
		`["a"`:             ErrNotJSON,
		"[\"\xff\"]":       errNotUTF8,
	} {
		if rooms, err := Rooms([]byte(body)); !errors.Is(err, want) || rooms != nil {
			t.Errorf("Rooms(%q) = %q, %v; want %v", body, rooms, err, want)
		}
	}
	if _, err := Rooms([]byte(`["a","b",3]`)); !strings.Contains(err.Error(), "element 2 is not a string") {
		t.Errorf("the error does not say where: %v", err)
	}
}

func TestDisconnect(t *testing.T) {
	for body, want := range map[string]Ending{"": EndSocket, " \n": EndSocket, `[]`: EndSocket, ` [ ] `: EndSocket, `[false]`: EndSocket,
		`[true]`: EndSession, ` [ true ]`: EndSession, `["close"]`: CloseTransport, ` [ "close" ] `: CloseTransport} {
		if got, err := Disconnect([]byte(body)); err != nil || got != want {
			t.Errorf("Disconnect(%q) = %v, %v", body, got, err)
		}
	}
	for body, want := range map[string]error{`[1]`: errDisconnect, `["true"]`: errDisconnect, `[null]`: errDisconnect,
		`["Close"]`: errDisconnect, `["close",true]`: errDisconnect, `["close"`: ErrNotJSON,
		`[true,true]`: errDisconnect, `[[true]]`: errDisconnect, `{}`: ErrNotArray, `true`: ErrNotArray, `[true`: ErrNotJSON,
		"\xff": errNotUTF8} {
		if got, err := Disconnect([]byte(body)); got != EndSocket || !errors.Is(err, want) {
			t.Errorf("Disconnect(%q) = %v, %v; want %v", body, got, err, want)
		}
	}
}

func TestInstance(t *testing.T) {
	for body, want := range map[string]string{`["chat-1"]`: "chat-1", ` [ "chat\u002d1" ] `: "chat-1", `[""]`: ""} {
		if got, err := Instance([]byte(body)); err != nil || got != want {
			t.Errorf("Instance(%q) = %q, %v", body, got, err)
		}
	}
	for body, want := range map[string]error{"": ErrNotJSON, `[]`: errInstance, `[1]`: errInstance, `["a","b"]`: errInstance,
		`["\ud800"]`: errInstance, `{}`: ErrNotArray, `"a"`: ErrNotArray, `["a"`: ErrNotJSON, "[\"\xff\"]": errNotUTF8} {
		if got, err := Instance([]byte(body)); got != "" || !errors.Is(err, want) {
			t.Errorf("Instance(%q) = %q, %v; want %v", body, got, err, want)
		}
	}
}

func TestParseAdmission(t *testing.T) {
	for body, want := range map[string]Grant{
		`[]`:   {},
		`[{}]`: {},
		` [ { "rooms" : [ "a" , "b.c" ] , "user" : "al\u0069ce" , "data" : { "x" : 1 } } ] `: {
			Rooms: []string{"a", "b.c"}, User: "alice", Data: []byte(`{ "x" : 1 }`)},
		`[{"data":{},"user":"","rooms":[]}]`:                      {Data: []byte(`{}`)},
		`[{"user":null,"rooms":null,"data":null}]`:                {Data: []byte(`null`)},
		`[{"data":{},"data": "x" }]`:                              {Data: []byte(`"x"`)},
		`[{"data":[1, 2]}]`:                                       {Data: []byte(`[1, 2]`)},
		`[{"later":[1,{"user":"x"}],"User":1,"ROOMS":2,"":3}]`:    {},
		`[{"\ud800":1,"user":"a b"}]`:                             {User: "a b"},
		`[{"\u0075ser":"앨리스"}]`:                                   {User: "앨리스"},
		`[{"user":"a","user":"b","rooms":["a"],"rooms":["b"]}]`:   {User: "b", Rooms: []string{"b"}},
		`[{"user":"a","user":null,"rooms":["a"],"rooms":null}]`:   {},
		`[{"join":["lobby-*"],"leave":[],"emit":null}]`:           {Join: []string{"lobby-*"}, Leave: []string{}},
		`[{"emit":["a"],"expires":1767225600.5}]`:                 {Emit: []string{"a"}, Expires: 1767225600},
		`[{"expires":5,"expires":null,"join":["a"],"join":null}]`: {},
	} {
		got, _, err := ParseAdmission([]byte(body))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseAdmission(%s) = %+v, %v", body, got, err)
		}
	}
}

func TestParseAdmissionRefuses(t *testing.T) {
	for body, want := range map[string]struct {
		err  error
		says string
	}{
		``:                        {ErrNotJSON, ""},
		`{}`:                      {ErrNotArray, ""},
		`true`:                    {ErrNotArray, ""},
		"[{\"user\":\"\xff\"}]":   {errNotUTF8, ""},
		`[null]`:                  {errAdmission, "at most one object"},
		`[true]`:                  {errAdmission, "at most one object"},
		`[["a"]]`:                 {errAdmission, "at most one object"},
		`[{},{}]`:                 {errAdmission, "at most one object"},
		`[{"rooms":"a"}]`:         {errAdmission, `"rooms" is not an array`},
		`[{"rooms":{"a":1}}]`:     {errAdmission, `"rooms" is not an array`},
		`[{"rooms":["a",1]}]`:     {errAdmission, `"rooms": element 1 is not a string`},
		`[{"rooms":["\udc00"]}]`:  {errLoneSurrogate, `"rooms": element 0`},
		`[{"user":7}]`:            {errAdmission, `"user" is not a string`},
		`[{"user":7,"user":"a"}]`: {errAdmission, `"user" is not a string`}, // even though a later one counts
		`[{"user":{"id":7}}]`:     {errAdmission, `"user" is not a string`},
		`[{"user":"\ud800"}]`:     {errLoneSurrogate, `"user"`},
		`[{"user":"a\r\nX: y"}]`:  {errAdmission, "header"},
		`[{"user":"a\u007f"}]`:    {errAdmission, "header"},
		`[{"user":" a"}]`:         {errAdmission, "header"},
		`[{"user":"a "}]`:         {errAdmission, "header"},
		`[{"rooms":["a"],"data"]`: {ErrNotJSON, ""},
		`[{"join":"a"}]`:          {errAdmission, `"join" is not an array`},
		`[{"leave":[1]}]`:         {errAdmission, `"leave": element 0 is not a string`},
		`[{"emit":["a",""]}]`:     {errAdmission, `"emit": element 1 is empty`},
		`[{"emit":["` + strings.Repeat("a", 513) + `"]}]`:     {errAdmission, `longer than 512`},
		`[{"emit":["a"` + strings.Repeat(`,"a"`, 100) + `]}]`: {errAdmission, `more than 100 patterns`},
		`[{"expires":0}]`:      {errAdmission, `"expires" is no time`},
		`[{"expires":"2030"}]`: {errAdmission, `"expires" is no time`},
		`[{"expires":1e300}]`:  {errAdmission, `"expires" is no time`},
		`[{"expires":true}]`:   {errAdmission, `"expires" is no time`},
	} {
		got, _, err := ParseAdmission([]byte(body))
		if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.says) || !reflect.DeepEqual(got, Grant{}) {
			t.Errorf("ParseAdmission(%s) = %+v, %v; want %v", body, got, err, want)
		}
	}
}

func TestParseRefusal(t *testing.T) {
	data := func(text string) json.RawMessage { return json.RawMessage(text) }
	for body, want := range map[string]Refusal{
		``: {"no", nil}, ` `: {"no", nil}, `[]`: {"no", nil}, `[ {"code": 7} ]`: {"no", data(`{"code": 7}`)}, `["a"]`: {"no", data(`"a"`)},
		`[null]`: {"no", data("null")}, `[[1,2]]`: {"no", data("[1,2]")}, `[7,""]`: {"", data("7")}, `[null,"a\nb "]`: {"a\nb ", nil},
		`[ "x" , "\ud800" ]`: {"\uFFFD", data(`"x"`)},
	} {
		if got, err := ParseRefusal("no", []byte(body)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseRefusal(%s) = %+v, %v", body, got, err)
		}
	}
	for body, want := range map[string]error{
		`[1,2]`: errRefusal, `[1,null]`: errRefusal, `[1,"a",2]`: errRefusal, `{}`: ErrNotArray, `x`: ErrNotJSON, "[\"\xff\"]": errNotUTF8,
	} {
		if got, err := ParseRefusal("no", []byte(body)); !errors.Is(err, want) || got.Data != nil || got.Message != "no" {
			t.Errorf("ParseRefusal(%s) = %+v, %v; want %v", body, got, err, want)
		}
	}
}

// FuzzVerbs checks that no body makes a reader panic, and that all readers agree on what an array is.
func FuzzVerbs(f *testing.F) {
	for _, body := range []string{``, `[]`, `["vip","a"]`, `[true]`, `[{"rooms":["a"],"user":"b","data":{"c":[]}}]`, `[null]`,
		`[{"user":"\ud800"}]`, `[{"":[{}]}]`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		isArray, blank := CheckArray(body) == nil, isBlank(body)
		if _, err := Rooms(body); err == nil && !isArray {
			t.Error("Rooms")
		}
		if _, err := Disconnect(body); err == nil && !isArray && !blank {
			t.Error("Disconnect")
		}
		if _, err := Instance(body); err == nil && !isArray {
			t.Error("Instance")
		}
		if _, err := ParseRefusal("", body); err == nil && !isArray && !blank {
			t.Error("ParseRefusal")
		}
		a, _, err := ParseAdmission(body)
		if err == nil && !isArray || a.Data != nil && !json.Valid(a.Data) || !FitsHeader(a.User) {
			t.Error("ParseAdmission")
		}
		if g, err := ParseGrant(body); err == nil {
			if back, err := ParseGrant(g.JSON()); err != nil || !bytes.Equal(back.JSON(), g.JSON()) {
				t.Errorf("ParseGrant(%s) = %+v, and again %+v, %v", body, g, back, err)
			}
		}
		_, _, _ = CheckObject(body), CheckPlaceholders(body, 3), AppendString(nil, string(body))
	})
}

func TestRewind(t *testing.T) {
	for header, want := range map[string]int{"0": 0, "7": 7, "1000": 1000} {
		if n, err := Rewind(header); n != want || err != nil {
			t.Errorf("%s: %d, %v", header, n, err)
		}
	}
	for _, header := range []string{"", "-1", "1001", "1.5", "x", "99999999999999999999"} {
		if _, err := Rewind(header); err == nil {
			t.Errorf("%q is no number of events", header)
		}
	}
}

func TestParseChange(t *testing.T) {
	g, has, err := ParseChange([]byte(`[{"user":null,"join":[],"other":1,"expires":null}]`))
	if want := HasUser | HasJoin | HasExpires; err != nil || has != want || g.User != "" || g.Join == nil || g.Expires != 0 {
		t.Errorf("%+v, %b, %v", g, has, err)
	}
	if _, _, err := ParseChange([]byte(`[{"join":1}]`)); !errors.Is(err, errChange) {
		t.Error(err)
	}
	if g, err := ParseGrant([]byte(` {"user":"ann","rooms":["a"]} `)); err != nil || g.User != "ann" || len(g.Rooms) != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}
