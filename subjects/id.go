package subjects

const (
	edgeIDBytes   = 8
	ownIDBytes    = 20
	socketIDBytes = edgeIDBytes + 1 + ownIDBytes
)

// IsSocketID reports whether s has the form of a socket's id: an edge's id (8 characters of 0-9 and a-z), a dot, and
// 20 characters of base64url (A-Z, a-z, 0-9, "-", "_"). No room has a name of this form, so a name that may be a
// room's or a socket's is a socket's if IsSocketID returns true.
func IsSocketID[T ~string | ~[]byte](s T) bool {
	if len(s) != socketIDBytes || s[edgeIDBytes] != '.' || !isEdgeID(s[:edgeIDBytes]) {
		return false
	}
	for i := edgeIDBytes + 1; i < socketIDBytes; i++ {
		if !isBase64URL(s[i]) {
			return false
		}
	}
	return true
}

// isEdgeID reports whether s has the form of an edge's id.
func isEdgeID[T ~string | ~[]byte](s T) bool {
	if len(s) != edgeIDBytes {
		return false
	}
	for i := range edgeIDBytes {
		if c := s[i]; !isDigit(c) && !isLower(c) {
			return false
		}
	}
	return true
}

// hashBytes is how long the hash of a session is.
const hashBytes = 22

// isHash reports whether s has the form of a session's hash.
func isHash(s string) bool {
	for i := range len(s) {
		if !isBase64URL(s[i]) {
			return false
		}
	}
	return len(s) == hashBytes
}

// MaxTokenBytes bounds the name of a group or an instance.
const MaxTokenBytes = 64

// IsToken reports whether s can name a group of service instances, or an instance: 1 to MaxTokenBytes characters of
// A-Z, a-z, 0-9, "-" and "_", and none of the words of a target (all, room, socket): events for such a name would be
// commands to edges.
func IsToken(s string) bool {
	if s == "" || len(s) > MaxTokenBytes || targetWord(s) != "" {
		return false
	}
	for i := range len(s) {
		if !isBase64URL(s[i]) {
			return false
		}
	}
	return true
}

func isBase64URL(c byte) bool {
	return isDigit(c) || isLower(c) || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// SplitSocketID splits a socket's id at its dot into the id of the edge where it connected and its own part. ok is
// false, and both are empty, if IsSocketID returns false for id. Look sockets up by the whole id: the edge's part
// does not say where the socket is now.
func SplitSocketID(id string) (edge, own string, ok bool) {
	if !IsSocketID(id) {
		return "", "", false
	}
	return id[:edgeIDBytes], id[edgeIDBytes+1:], true
}
