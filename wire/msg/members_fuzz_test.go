package msg

import (
	"reflect"
	"testing"
)

// What is read of a message about members is written so that it is read the same.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`["members",{"edge":"k3f9a0zz","n":1,"joined":[{"id":"k3f9a0zz.Q2hhdHR5LXNvY2tldC0x","user":"ann","data":{"a":[1,"<&>"]}}],"left":[]}]`,
		`["members",{"edge":"k3f9a0zz","n":2,"joined":[],"left":[{"id":"k3f9a0zz.Q2hhdHR5LXNvY2tldC0x","reason":"leave"}]}]`,
		`["members",{"n":18446744073709551616}]`, `["members",{"n":-1}]`, `["members",null]`, `["members"]`, `["members",{"joined":null,"left":[null]}]`,
		`["members",{"joined":[{"id":"a","data":null},{"id":"a","data":"\ud800"}]}]`, `[]`, ``, `["members",{},1]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ParseMembers(body)
		if err != nil {
			return
		}
		first := m.Body()
		again, err := ParseMembers(first)
		if err != nil || !reflect.DeepEqual(again.Body(), first) {
			t.Errorf("%s is read as %s, then as %s: %v", body, first, again.Body(), err)
		}
	})
}
