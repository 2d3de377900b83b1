package bus

// Header holds the header lines of a message. Names are case-sensitive, as NATS has them.
type Header map[string][]string

// Get is the first value of a name, or "".
func (h Header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Has reports whether the name is there.
func (h Header) Has(name string) bool { return len(h[name]) > 0 }

// Message is what arrived. Data may be kept: it is never used again.
type Message struct {
	Subject string
	Reply   string // "" if no answer is wanted
	Header  Header // nil for a message without headers
	Data    []byte
	// Subscription is the subject of the subscription by which it came. A message that several match comes by each of them.
	Subscription string
}

// NoResponders reports whether this is the server's own answer that the subject of a request has no subscriber.
func (m *Message) NoResponders() bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get("Status") == "503"
}
