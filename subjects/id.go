package subjects

const (
	edgeIDBytes   = 8
	ownIDBytes    = 20
	socketIDBytes = edgeIDBytes + 1 + ownIDBytes
)

// IsSocketID tells whether s has the form of a socket's id: an edge's id (8 characters of 0-9 and a-z), a dot, and 20
// characters of base64url (A-Z, a-z, 0-9, "-", "_"). No room has a name of this form, so a name that may be either is
// a socket if this says so.
func IsSocketID[T ~string | ~[]byte](s T) bool {
	if len(s) != socketIDBytes || s[edgeIDBytes] != '.' {
		return false
	}
	for i := range edgeIDBytes {
		if c := s[i]; !isDigit(c) && !isLower(c) {
			return false
		}
	}
	for i := edgeIDBytes + 1; i < socketIDBytes; i++ {
		if c := s[i]; !isDigit(c) && !isLower(c) && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// SplitSocketID splits a socket's id at its dot into the id of the edge where it began and its own part, both
// substrings; ok is false, and both are empty, if id has not the form that IsSocketID asks for. A socket is always
// looked up by its whole id: the edge's part alone says nothing about where it lives now.
func SplitSocketID(id string) (edge, own string, ok bool) {
	if !IsSocketID(id) {
		return "", "", false
	}
	return id[:edgeIDBytes], id[edgeIDBytes+1:], true
}
