package backend

import "sync/atomic"

// newAck makes an Ack that sends once. When sending fails, it may be tried again, for instance with less.
func newAck(send func(args []any) error) Ack {
	var answered atomic.Bool
	return func(args ...any) error {
		if !answered.CompareAndSwap(false, true) {
			return failure(Answered, "the event has been answered already")
		}
		err := send(args)
		if err != nil {
			answered.Store(false)
		}
		return err
	}
}
