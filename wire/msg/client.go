package msg

// What an edge itself sends to clients, without the heads of the packets.

// Connected is the payload of CONNECT. pid lets the client come back; "": it cannot.
func Connected(sid, pid string) []byte {
	body := AppendString([]byte(`{"sid":`), sid)
	if pid != "" {
		body = AppendString(append(body, `,"pid":`...), pid)
	}
	return append(body, '}')
}

// ConnectError is the payload of CONNECT_ERROR. data is JSON, or nil for none.
func ConnectError(message string, data []byte) []byte {
	body := AppendString([]byte(`{"message":`), message)
	if data != nil {
		body = append(append(body, `,"data":`...), data...)
	}
	return append(body, '}')
}

// Done is the ack to what a client asks of its edge: err, or nil.
func Done(err error) []byte {
	if err == nil {
		return []byte(`[{"ok":true}]`)
	}
	return append(AppendString([]byte(`[{"error":`), err.Error()), "}]"...)
}
