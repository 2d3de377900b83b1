package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
)

var validSeeds = []string{
	``, ` `, `{}`, `[]`, ` { } `, `[[]]`, `{"a":{}}`, `["message",{"a":[1,2.5e+3,-0,true,false,null],"b":"\u00e9\\\n/"}]`, `"x"`, `-0.1E-9`,
	`[1,]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `[1 2]`, `[}`, `{]`, `[`, `{`, `"`, `"\`, `"\u12`, `"\u12g4"`, `"\x"`, `01`, `-`, `1.`, `.5`, `1e`, `+1`, `tru`, `nul`, `truex`,
	`[1]]`, `1 1`, `,`, `:`, `{"a"::1}`, `{"a":1 "b":2}`, `{"a":1,"b":2}`, "[\"\x00\"]", "[\"\x1f0123456789\"]", "\"\xff\xfe0123456\"", "[\"0123456789\t\"]",
	`["0123456\"89","01234567\"","0\\23456789abcdef"]`, `"0123456789abcdef`, "\ufeff[]", "[1,\v2]", `[-]`, `[1e5,1E+5,1e-]`, `{"":""}`,
}

// FuzzValid compares with encoding/json.
func FuzzValid(f *testing.F) {
	for _, text := range validSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(compareValid)
}

func compareValid(t *testing.T, text []byte) {
	if got, want := Valid(text), json.Valid(text); got != want {
		t.Errorf("%.200q is valid: %v, want %v", text, got, want)
	}
}

func TestValidDeep(t *testing.T) {
	for _, depth := range []int{deepest - 1, deepest, deepest + 1, 10_000, 10_001} {
		compareValid(t, []byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)))
		compareValid(t, []byte(strings.Repeat(`{"a":[`, depth/2)+strings.Repeat("]}", depth/2)))
	}
}

// BenchmarkValid compares with encoding/json for a long string, a packet of numbers, and a usual one.
func BenchmarkValid(b *testing.B) {
	for name, text := range map[string]string{
		"string": `["message","` + strings.Repeat("x", 900_000) + `"]`, "numbers": `["points",[` + strings.Repeat("12.5,", 200_000) + `1]]`, "usual": `["message",{"text":"good morning","to":[1,2,3]}]`,
	} {
		for with, valid := range map[string]func([]byte) bool{"Valid": Valid, "json.Valid": json.Valid} {
			b.Run(name+" "+with, func(b *testing.B) {
				packet := []byte(text)
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					valid(packet)
				}
			})
		}
	}
}
