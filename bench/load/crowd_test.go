package load

import (
	"bytes"
	"testing"
	"time"
)

func TestWhatACrowdSaysHasItsNumbersAtFixedPlaces(t *testing.T) {
	packet := appendAddress(nil, "room-0004499", 44_999, 7, 123_000_000_000)
	if len(packet) != messageSize {
		t.Fatalf("%d bytes: %s", len(packet), packet)
	}
	if speaker, number, at, ok := parseAddress(packet); !ok || speaker != 44_999 || number != 7 || at != 123_000_000_000 {
		t.Errorf("%d %d %d %v", speaker, number, at, ok)
	}
	if _, _, _, ok := parse(packet, false); ok {
		t.Error("it is taken for a message to the hall")
	}
	body := Announcement(8, 9*time.Second)
	received := append([]byte("42"+namespace+","), body...)
	if len(received) != messageSize || !bytes.HasPrefix(body, []byte(`["message",`)) {
		t.Fatalf("%s", body)
	}
	if speaker, number, at, ok := parse(received, false); !ok || speaker != HallSpeaker || number != 8 ||
		at != 9_000_000_000 {
		t.Errorf("%d %d %d %v", speaker, number, at, ok)
	}
}

func TestAnAgendaIsInTheOrderOfItsTimes(t *testing.T) {
	var a agenda
	for _, at := range []int64{30, 10, 20} {
		a.add(at, &client{index: int(at)})
	}
	for _, want := range []int64{10, 20, 30} {
		if c, at := a.first(); at != want || c.index != int(want) {
			t.Errorf("%d, want %d", at, want)
		}
		a.pop()
	}
	if c, _ := a.first(); c != nil {
		t.Error("it is not empty")
	}
}

func TestTheSessionIsFoundOnceTheAnswerIsWhole(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\n\r\n" + `0{"sid":"abc-12","upgrades":["websocket"]}`)
	if sid, ok := sessionID(answer); !ok || string(sid) != "abc-12" {
		t.Errorf("%q %v", sid, ok)
	}
	if _, ok := sessionID(answer[:30]); ok {
		t.Error("half an id passes")
	}
}

func TestHistogramsAddUp(t *testing.T) {
	var whole, one, other Histogram
	for ns := int64(1); ns < 1_000_000; ns *= 2 {
		whole.Add(ns)
		one.Add(ns)
	}
	whole.Add(5)
	other.Add(5)
	other.Merge(&one)
	if other.Count != whole.Count || other.Most != whole.Most || other.Quantile(.5) != whole.Quantile(.5) {
		t.Errorf("%+v, want %+v", other, whole)
	}
}
