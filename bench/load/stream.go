package load

// stream tracks the numbers of one speaker's messages at one listener.
type stream struct {
	next uint32 // the number that comes next, if nothing is lost
	seen uint64 // bit i: next-1-i has come
}

// tally counts what listeners received.
type tally struct {
	Distinct   int64 // each message counted once a listener
	Doubled    int64 // came again
	Reordered  int64 // came after a later one
	Misplaced  int64 // at a client that must not receive it
	Unexpected int64 // frames that are no message of the scenario
}

// take records a message, and reports whether it is new.
func (s *stream) take(number uint32, t *tally) bool {
	if number == s.next { // the usual
		s.next++
		s.seen = s.seen<<1 | 1
		t.Distinct++
		return true
	}
	if number > s.next {
		s.seen = s.seen<<(number-s.next+1) | 1
		s.next = number + 1
		t.Distinct++
		return true
	}
	if age := s.next - 1 - number; age >= 64 || s.seen&(1<<age) != 0 {
		t.Doubled++
		return false
	} else {
		s.seen |= 1 << age
	}
	t.Reordered++
	t.Distinct++
	return true
}
