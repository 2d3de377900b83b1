package load

import "time"

// Messages have the same length in all scenarios, and their numbers at fixed positions:
//
//	42/bench,["message","00017000000420000123456789012xxxx…"]
//
// five digits of the speaker, eight of the number, fourteen of the time in nanoseconds, and padding.
const (
	messageSize   = 128 // bytes of the Socket.IO packet, its Engine.IO type included; with recovery an offset follows
	speakerDigits = 5
	numberDigits  = 8
	timeDigits    = 14
)

const (
	messagePrefix = "42" + namespace + `,["message","`
	messageSuffix = `"]`
	echoID        = 1_000_000 // the ack ids of echoes begin here, so that all have seven digits
	echoIDs       = 9_000_000 // how many there are before they repeat
)

// Positions of an echo's ack id, and of what follows it.
const (
	echoPrefix = "42" + namespace + ","
	echoMiddle = `["echo","`
	ackPrefix  = "43" + namespace + ","
	ackMiddle  = `["`
	idDigits   = 7
)

// appendMessage appends the packet of a message.
func appendMessage(dst []byte, speaker, number int, at int64) []byte {
	return fill(append(dst, messagePrefix...), len(dst), speaker, number, at, messageSize)
}

// appendEcho appends the packet of an event whose ack is of the same length as a message.
func appendEcho(dst []byte, speaker, number int, at int64) []byte {
	start := len(dst)
	dst = append(dst, echoPrefix...)
	dst = appendDigits(dst, int64(echoID+number%echoIDs), idDigits)
	dst = append(dst, echoMiddle...)
	return fill(dst, start, speaker, number, at, messageSize+len(echoMiddle)-len(ackMiddle))
}

func fill(dst []byte, start, speaker, number int, at int64, size int) []byte {
	dst = appendDigits(dst, int64(speaker), speakerDigits)
	dst = appendDigits(dst, int64(number), numberDigits)
	dst = appendDigits(dst, at, timeDigits)
	for len(dst) < start+size-len(messageSuffix) {
		dst = append(dst, 'x')
	}
	return append(dst, messageSuffix...)
}

func appendDigits(dst []byte, n int64, digits int) []byte {
	var text [20]byte
	for i := digits - 1; i >= 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, text[:digits]...)
}

// parse reads the numbers of a message, or of an echo's ack. ok is false for any other packet.
func parse(packet []byte, isEcho bool) (speaker, number int, at int64, ok bool) {
	begin := len(messagePrefix)
	if isEcho {
		if string(packet[:len(ackPrefix)]) != ackPrefix {
			return 0, 0, 0, false
		}
		begin = len(ackPrefix) + idDigits + len(ackMiddle)
	} else if string(packet[:len(messagePrefix)]) != messagePrefix {
		return 0, 0, 0, false
	}
	speaker, number, at = numbers(packet[begin:])
	return speaker, number, at, true
}

func numbers(digits []byte) (speaker, number int, at int64) {
	speaker = int(readDigits(digits[:speakerDigits]))
	number = int(readDigits(digits[speakerDigits : speakerDigits+numberDigits]))
	at = readDigits(digits[speakerDigits+numberDigits : speakerDigits+numberDigits+timeDigits])
	return speaker, number, at
}

// The message of a Crowd's client to its room. Room names have a fixed length.
const (
	addressPrefix = "42" + namespace + `,["say","`
	addressMiddle = `","`
	roomSize      = 12 // bytes of a room's name
)

// appendAddress appends the packet of a message to the room that it names.
func appendAddress(dst []byte, room string, speaker, number int, at int64) []byte {
	start := len(dst)
	dst = append(append(append(dst, addressPrefix...), room...), addressMiddle...)
	return fill(dst, start, speaker, number, at, messageSize)
}

// parseAddress reads the numbers of such a message. ok is false for any other packet.
func parseAddress(packet []byte) (speaker, number int, at int64, ok bool) {
	if string(packet[:len(addressPrefix)]) != addressPrefix {
		return 0, 0, 0, false
	}
	speaker, number, at = numbers(packet[len(addressPrefix)+roomSize+len(addressMiddle):])
	return speaker, number, at, true
}

// Announcement is the body of a message of HallSpeaker for NATS; at counts in ns from the Job's Began.
func Announcement(number int, at time.Duration) []byte {
	return appendMessage(nil, HallSpeaker, number, int64(at))[len("42"+namespace+","):]
}

func readDigits(text []byte) (n int64) {
	for _, c := range text {
		n = n*10 + int64(c-'0')
	}
	return n
}
