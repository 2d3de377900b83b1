package jsontext

// Take splits an object, which must be valid JSON, into the values of some members and the rest. taken has a value for
// each name: as in JavaScript the last one counts, in whatever spelling; nil if there is none. They are parts of
// object. rest is object itself if it has none of them; otherwise it has the other members byte for byte, without
// white space between them.
func Take(object []byte, names ...string) (rest []byte, taken [][]byte) {
	taken = make([][]byte, len(names))
	found, others := false, []byte{'{'}
	for members := Inside(object); ; {
		key, more := members.Next()
		if !more {
			break
		}
		value, _ := members.Next()
		isOther := true
		for i, name := range names {
			if KeyIs(key, name) {
				taken[i], found, isOther = value, true, false
			}
		}
		if !isOther {
			continue
		}
		if len(others) > 1 {
			others = append(others, ',')
		}
		others = append(append(append(others, key...), ':'), value...)
	}
	if !found {
		return object, taken
	}
	return append(others, '}'), taken
}
