package msg

// EventName checks the whole body of an event and appends the event's name to dst: the first element of the array, as
// JSON decoding gives it; of a number, its JSON text. What it accepts is what the reference parser hands to a listener
// (socket.io-parser, isPayloadValid): the official client closes its connection on everything else.
//
// The errors are ErrNotUTF8, ErrNotJSON, ErrNotArray, ErrNoName, ErrReserved and ErrLoneSurrogate; with an error, dst
// comes back as it was. The result does not point into body. EventName does not allocate if dst has room.
func EventName(dst, body []byte) (name []byte, err error) {
	elements, err := array(body)
	if err != nil {
		return dst, err
	}
	first, _ := elements.next()
	switch {
	case isNumber(first):
		return append(dst, first...), nil
	case !isString(first):
		return dst, ErrNoName
	}
	name, err = appendDecoded(dst, first)
	if err != nil {
		return dst, err
	}
	if isReserved(name[len(dst):]) {
		return dst, ErrReserved
	}
	return name, nil
}

// FirstArgument appends the first argument of an event, the second element of its array, to dst if that is a string:
// the room or socket that a client names in join, leave or a relayed event. ok is false, and dst comes back as it was,
// if there is none, it is no string, or it contains half a surrogate pair. body must have passed EventName. The
// result does not point into body.
func FirstArgument(dst, body []byte) (arg []byte, ok bool) {
	elements := inside(body)
	elements.next()
	second, _ := elements.next()
	if !isString(second) {
		return dst, false
	}
	arg, err := appendDecoded(dst, second)
	return arg, err == nil
}
