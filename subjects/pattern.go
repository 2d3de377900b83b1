package subjects

// Matches reports whether a name fits a pattern: * is any run of characters, nothing else is special. Its time is linear in
// practice and at worst the product of the lengths: each star is only ever moved forward.
func Matches[T ~string | ~[]byte](pattern string, name T) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
