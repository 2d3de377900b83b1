package recovery

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func TestRecord(t *testing.T) {
	for want, r := range map[string]Record{
		`{"v":1,"sid":"k3f9a0zz.AAAAAAAAAAAAAAAAAAAA","ns":"/","epoch":"0k3z9","start":0}`: {
			SID: "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA", Namespace: "/", Epoch: testEpoch},
		`{"v":1,"sid":"k3f9a0zz.AAAAAAAAAAAAAAAAAAAA","ns":"/chat","user":"ann","grant":{"emit":["a"]},"epoch":"0k3z9","start":7,"renewed":true,` +
			`"rooms":{"news":8,"order.7":18446744073709551615},"past":[{"room":"vip","from":8,"to":9}],"rev":3,` +
			`"group":"shop","owner":"shop-1","assignment":2,"left":1767225600000,"reason":"transport close","ended":true,` +
			`"data":{ "plan" : "<pro>", "n":1.0 }}`: {
			SID: "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA", Namespace: "/chat", Given: Given{User: "ann", Data: json.RawMessage(`{ "plan" : "<pro>", "n":1.0 }`), Grant: json.RawMessage(`{"emit":["a"]}`)},
			Epoch: testEpoch, Start: 7, Rooms: map[string]uint64{"news": 8, "order.7": 1<<64 - 1}, Past: []Span{{"vip", 8, 9}}, Rev: 3,
			Group: "shop", Owner: "shop-1", Assignment: 2, Left: 1767225600000, Reason: "transport close", Ended: true, Renewed: true},
		`{"v":1,"sid":"","ns":"","epoch":"00000","start":0,"data":null}`: {Epoch: "00000", Given: Given{Data: json.RawMessage("null")}},
	} {
		if got := string(r.JSON()); got != want {
			t.Errorf("the record is %s, want %s", got, want)
		}
		if back, err := ParseRecord([]byte(want)); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("ParseRecord(%s) = %+v, %v", want, back, err)
		}
	}
	// A later edge of the same version may add members.
	if r, err := ParseRecord([]byte(`{"v":1,"epoch":"0k3z9","later":[1]}`)); err != nil || r.Epoch != testEpoch {
		t.Errorf("a member more: %+v, %v", r, err)
	}
	for _, body := range []string{"", "x", "[]", "null", "{}", `{"v":2,"epoch":"0k3z9"}`, `{"v":1}`, `{"v":1,"epoch":"0K3Z9"}`,
		`{"v":1,"epoch":"0k3z9","start":-1}`, `{"v":1,"epoch":"0k3z9","rooms":["a"]}`, `{"v":1,"epoch":"0k3z9","sid":1}`} {
		if r, err := ParseRecord([]byte(body)); !errors.Is(err, errRecord) || !reflect.DeepEqual(r, Record{}) {
			t.Errorf("ParseRecord(%s) = %+v, %v", body, r, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"sid":"a","ns":"/","epoch":"0k3z9","start":7,"rooms":{"x":8},"past":[{"room":"y","from":1,"to":2}],"data":[ 1 ]}`))
	f.Add([]byte(`{"v":1,"epoch":"0k3z9","data":null,"rooms":{},"left":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRecord(body)
		if err != nil {
			return
		}
		stored := r.JSON()
		back, err := ParseRecord(stored)
		if err != nil || string(back.JSON()) != string(stored) || string(back.Data) != string(r.Data) || back.SID != r.SID {
			t.Errorf("%s became %s: %v", body, stored, err)
		}
	})
}
