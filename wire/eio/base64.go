package eio

const notADigit = 0xff

// digits maps a character of the standard or the URL alphabet to its value, all others to notADigit.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = notADigit
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		table[alphabet[i]] = byte(i)
	}
	table['+'], table['/'] = 62, 63
	table['-'], table['_'] = 62, 63
	return table
}()

// decodeBase64 decodes b in place and returns the decoded part of it. It accepts what an encoder may write: either
// alphabet, padded to a multiple of four or not padded at all, no white space. The unused bits of the last digit are
// ignored.
//
// encoding/base64 decodes one alphabet at a time and does not promise that source and destination may overlap.
func decodeBase64(b []byte) (decoded []byte, ok bool) {
	if n := len(b); n > 0 && n%4 == 0 && b[n-1] == '=' {
		b = b[:n-1]
		if b[n-2] == '=' {
			b = b[:n-2]
		}
	}
	r, w := 0, 0
	for ; len(b)-r >= 4; r, w = r+4, w+3 {
		d0, d1, d2, d3 := digits[b[r]], digits[b[r+1]], digits[b[r+2]], digits[b[r+3]]
		if d0|d1|d2|d3 == notADigit {
			return nil, false
		}
		b[w], b[w+1], b[w+2] = d0<<2|d1>>4, d1<<4|d2>>2, d2<<6|d3
	}
	switch len(b) - r {
	case 1: // six bits are no byte
		return nil, false
	case 2:
		d0, d1 := digits[b[r]], digits[b[r+1]]
		if d0|d1 == notADigit {
			return nil, false
		}
		b[w] = d0<<2 | d1>>4
		w++
	case 3:
		d0, d1, d2 := digits[b[r]], digits[b[r+1]], digits[b[r+2]]
		if d0|d1|d2 == notADigit {
			return nil, false
		}
		b[w], b[w+1] = d0<<2|d1>>4, d1<<4|d2>>2
		w += 2
	}
	return b[:w:w], true
}
