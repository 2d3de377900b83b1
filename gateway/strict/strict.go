// Package strict bounds what JSON of others makes a gateway keep.
package strict

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MostElements is how many elements a List has at most.
const MostElements = 1000

// List is a slice that is read from an array of at most MostElements, and no further: each element takes many times the
// bytes of a short text.
type List[T any] []T

// UnmarshalJSONFrom reads an array, or null.
func (l *List[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '[' {
		return json.UnmarshalDecode(d, (*[]T)(l))
	}
	_, _ = d.ReadToken()
	for *l = (List[T]{}); d.PeekKind() != ']'; {
		if len(*l) == MostElements {
			return fmt.Errorf("it has more than %d elements", MostElements)
		}
		var one T
		if err := json.UnmarshalDecode(d, &one); err != nil {
			return err
		}
		*l = append(*l, one)
	}
	_, err := d.ReadToken()
	return err
}
