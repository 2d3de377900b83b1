package load

import (
	"container/heap"
	"math"
)

// agenda is clients by the time at which something is due for them.
type agenda []entry

type entry struct {
	at     int64
	client *client
}

func (a *agenda) add(at int64, c *client) { heap.Push(a, entry{at, c}) }

// first returns the next client, and when it is due; nil and the end of time if there is none.
func (a *agenda) first() (*client, int64) {
	if len(*a) == 0 {
		return nil, math.MaxInt64
	}
	return (*a)[0].client, (*a)[0].at
}

func (a *agenda) pop() { heap.Pop(a) }

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (a *agenda) Len() int           { return len(*a) }
func (a *agenda) Less(i, j int) bool { return (*a)[i].at < (*a)[j].at }
func (a *agenda) Swap(i, j int)      { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }
func (a *agenda) Push(x any)         { *a = append(*a, x.(entry)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	*a = (*a)[:last]
	return e
}
