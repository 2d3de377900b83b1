package sio

import (
	"math"
	"strconv"

	"partyline/wire/jsontext"
)

// Placeholder is what is known of an object that may stand for an attachment. The zero Placeholder is an object
// without members.
type Placeholder struct {
	marked bool // the last member _placeholder is true
	place  int8 // of the attachment that the last member num names, from 1 on; 0: it names none
}

// Member notes a member of the object: its key with quotes, and text that begins with its value. Of a repeated member
// the last counts, as in JSON.parse. num must be an integer from 0 up to the number of attachments, however it is
// written: 1.0 and 1e0 are 1.
func (p *Placeholder) Member(key, value []byte, attachments int) {
	switch {
	case jsontext.KeyIs(key, "_placeholder"):
		p.marked = len(value) > 0 && value[0] == 't'
	case jsontext.KeyIs(key, "num"):
		p.place = 0
		if index := indexOf(value); index >= 0 && index < float64(attachments) && index < MaxAttachments {
			p.place = int8(index) + 1
		}
	}
}

// indexOf returns the integer that a text begins with, -1 if it begins with none.
func indexOf(text []byte) float64 {
	if !jsontext.IsNumber(text) {
		return -1
	}
	number := text[:jsontext.SkipToken(text, 0)]
	if c := number[0]; len(number) == 1 && c != '-' {
		return float64(c - '0')
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || f != math.Trunc(f) {
		return -1
	}
	return f
}

// Attachment reports whether the object is a placeholder, and of which attachment: index is -1 if it names none.
func (p Placeholder) Attachment() (index int, isPlaceholder bool) {
	return int(p.place) - 1, p.marked
}
