// Package buffers lends the buffers that messages of clients are read into.
package buffers

import (
	"bytes"
	"context"
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

// small and large are the buffers that were returned. Go frees those that nobody takes for two collections.
var (
	small = sync.Pool{New: func() any { b := make([]byte, 0, first); return &b }}
	large sync.Pool
)

// Get lends a buffer for the next message.
func Get() *[]byte { return small.Get().(*[]byte) }

// Put takes a buffer back. Nothing may use it any more.
func Put(b *[]byte) {
	if cap(*b) < largeFrom {
		small.Put(b)
	} else {
		large.Put(b)
	}
}

// Own returns a copy of all, which was read into a lent buffer, and takes that back.
func Own(lent *[]byte, all []byte) []byte {
	own := bytes.Clone(all)
	*lent = all
	Put(lent)
	return own
}

// Grow returns a buffer with what is in buf and room for more: twice as much, or a little more than most bytes if that
// is enough. A large one may be twice as large, and gives way to quiet clients. buf must not be used any more.
func Grow(buf []byte, most int) []byte {
	size := min(step*len(buf), max(len(buf), most)) + leastRoom
	if size < largeFrom {
		return slices.Grow(buf, size-len(buf))
	}
	turn.Large.GiveWay(context.Background(), turn.Chunk) // in the middle of what may be a megabyte
	if lent, _ := large.Get().(*[]byte); lent != nil {
		if size <= cap(*lent) && cap(*lent) <= step*size {
			return append((*lent)[:0], buf...)
		}
		large.Put(lent)
	}
	return slices.Grow(buf, size-len(buf))
}
