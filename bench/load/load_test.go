package load

import (
	"bytes"
	"testing"
)

// serverFrame is a frame as servers send it.
func serverFrame(payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		return append([]byte{opText, byte(n)}, payload...)
	case n < 1<<16:
		return append([]byte{opText, 126, byte(n >> 8), byte(n)}, payload...)
	default:
		return append([]byte{opText, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, payload...)
	}
}

func TestFramesAreCutWhereverTheReadEnds(t *testing.T) {
	var data []byte
	lengths := []int{0, 1, 125, 126, 128, 65535, 65536}
	for _, n := range lengths {
		data = append(data, serverFrame(bytes.Repeat([]byte{'x'}, n))...)
	}
	for end := 0; end <= len(data); end += 1 + end/100 {
		whole, rest := 0, data[:end]
		for {
			opcode, payload, size, err := cutFrame(rest)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				break
			}
			if opcode != opText || len(payload) != lengths[whole] {
				t.Fatalf("frame %d: opcode %#x, %d bytes", whole, opcode, len(payload))
			}
			whole, rest = whole+1, rest[size:]
		}
		if end == len(data) && (whole != len(lengths) || len(rest) != 0) {
			t.Fatalf("%d frames, %d bytes left", whole, len(rest))
		}
	}
	if _, _, _, err := cutFrame([]byte{opText, masked | 3, 0, 0, 0, 0, 0, 0}); err == nil {
		t.Error("a masked frame passes")
	}
}

func TestFramesOfClientsAreMasked(t *testing.T) {
	for _, n := range []int{0, 7, 8, 125, 126, 200} {
		payload := bytes.Repeat([]byte("0123456789"), 20)[:n]
		frame := appendFrame(nil, opText, payload)
		header := len(frame) - n
		if frame[0] != opText || frame[1]&masked == 0 {
			t.Fatalf("header %x", frame[:2])
		}
		got := bytes.Clone(frame[header:])
		for i := range got {
			got[i] ^= frame[header-4+i%4]
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
}

func TestMessagesHaveTheirNumbersAtFixedPlaces(t *testing.T) {
	packet := appendMessage(nil, 123, 456, 789_000_000_000)
	if len(packet) != messageSize {
		t.Fatalf("%d bytes: %s", len(packet), packet)
	}
	if speaker, number, at, ok := parse(packet, false); !ok || speaker != 123 || number != 456 || at != 789_000_000_000 {
		t.Errorf("%d %d %d %v", speaker, number, at, ok)
	}
	echo := appendEcho(nil, 5, 6, 7)
	// what a server makes of it
	ack := bytes.Replace(bytes.Replace(echo, []byte("42"), []byte("43"), 1), []byte(`"echo",`), nil, 1)
	if len(ack) != messageSize {
		t.Fatalf("%d bytes: %s", len(ack), ack)
	}
	if speaker, number, at, ok := parse(ack, true); !ok || speaker != 5 || number != 6 || at != 7 {
		t.Errorf("%d %d %d %v", speaker, number, at, ok)
	}
}

func TestStreamTellsDoubledFromReordered(t *testing.T) {
	var s stream
	var sum tally
	for _, number := range []uint32{0, 1, 3, 2, 2, 3, 200, 199, 200, 100} {
		s.take(number, &sum)
	}
	if want := (tally{Distinct: 6, Doubled: 4, Reordered: 2}); sum != want { // 100 came too late to be told
		t.Errorf("%+v, want %+v", sum, want)
	}
}

func TestQuantilesAreAtMostThreePercentOff(t *testing.T) {
	var h Histogram
	for ns := int64(1); ns <= 1_000_000; ns++ {
		h.Add(ns)
	}
	for q, want := range map[float64]int64{.5: 500_000, .99: 990_000, 1: 1_000_000} {
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.033 {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	for ns := int64(1); ns < 1<<62; ns *= 3 {
		if b := bucket(ns); upper(b) < ns || b > 0 && upper(b-1) >= ns {
			t.Errorf("%d is in bucket %d, which ends with %d", ns, b, upper(b))
		}
	}
}
