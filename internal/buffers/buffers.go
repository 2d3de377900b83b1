// Package buffers lends buffers in which messages are read, converted and published.
package buffers

import (
	"bytes"
	"context"
	"math/bits"
	"slices"
	"sync"

	"partyline/internal/turn"
)

const (
	// first is how large a new buffer is, and leastRoom is the least room that Grow makes.
	first     = 4 << 10
	leastRoom = 512
	// largeFrom is from what size on buffers are lent apart: a small message would keep one from a large message.
	largeFrom = 64 << 10
	// step is how much larger Grow makes a buffer.
	step = 2
)

// small are the buffers that were returned, and large[n] those of largeFrom<<n bytes. Go frees those that nobody takes
// for two collections.
var (
	small = sync.Pool{New: func() any { b := make([]byte, 0, first); return &b }}
	large [8]sync.Pool
)

// Get lends a buffer for the next message.
func Get() *[]byte { return small.Get().(*[]byte) }

// Room lends a buffer with room for size bytes. It may have content.
func Room(size int) *[]byte {
	if size <= first {
		return Get()
	}
	b := sized(size)
	return &b
}

// Put takes a buffer back, or drops it if no other message needs one of its size. Nothing may use it any more.
func Put(b *[]byte) {
	if size := cap(*b); size >= largeFrom {
		if n := class(size); n < len(large) && size == largeFrom<<n {
			large[n].Put(b)
		}
	} else if size >= first {
		small.Put(b)
	}
}

// PutGrown takes grown back in place of lent, or lent if grown is nil. After Grow, which has taken lent's array, grown must
// not be nil.
func PutGrown(lent *[]byte, grown []byte) {
	if grown != nil {
		*lent = grown
	}
	Put(lent)
}

// class returns the smallest class of large buffers that hold size bytes.
func class(size int) int { return bits.Len(uint(size-1) / largeFrom) }

// Own returns a copy of all, which was read into a lent buffer, and takes that back.
func Own(lent *[]byte, all []byte) []byte {
	own := bytes.Clone(all)
	PutGrown(lent, all)
	return own
}

// Grow returns a buffer with what is in buf and room for more: twice as much, or a little more than most bytes if that
// is enough. A large one may be twice as large, and gives way to quiet clients. buf must not be used any more.
func Grow(buf []byte, most int) []byte {
	size := max(len(buf)+leastRoom, min(step*len(buf), most+leastRoom))
	if size < largeFrom {
		return slices.Grow(buf, size-len(buf))
	}
	turn.Large.GiveWay(context.Background(), turn.Chunk) // in the middle of what may be a megabyte
	grown := append(sized(size), buf...)
	Put(&buf)
	return grown
}

// sized returns a large buffer for size bytes.
func sized(size int) []byte {
	n := class(size)
	if n >= len(large) {
		return make([]byte, 0, size)
	}
	if lent, _ := large[n].Get().(*[]byte); lent != nil {
		return (*lent)[:0]
	}
	return make([]byte, 0, largeFrom<<n)
}
