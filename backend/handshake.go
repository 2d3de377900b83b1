package backend

import "encoding/json"

// Handshake is what an edge tells of the request with which a client connected.
type Handshake struct {
	ID      string            `json:"sid"`     // the socket's id
	Auth    json.RawMessage   `json:"auth"`    // what the client gave as auth, a JSON object
	Query   map[string]string `json:"query"`   // of a repeated key the last value
	Headers map[string]string `json:"headers"` // names in lower case, several values joined
	Address string            `json:"address"` // the client's IP address, behind trusted proxies
	URL     string            `json:"url"`     // path and query
	Secure  bool              `json:"secure"`  // whether the client came over TLS
	XDomain bool              `json:"xdomain"` // whether a browser sent an Origin
	Issued  int64             `json:"issued"`  // when the socket asked, in milliseconds since 1970
	Time    string            `json:"time"`    // the same in words
}

// DecodeAuth unmarshals what the client gave as auth. Nothing is an empty object.
func (h *Handshake) DecodeAuth(target any) error {
	text := h.Auth
	if len(text) == 0 {
		text = json.RawMessage("{}")
	}
	if err := json.Unmarshal(text, target); err != nil {
		return because(BadArguments, err, "auth does not fit %T", target)
	}
	return nil
}
