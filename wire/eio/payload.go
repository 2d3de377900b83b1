package eio

import "bytes"

// Separator stands between the packets of a polling payload (protocol, section "Packet encoding", HTTP long-polling). JSON
// never holds this byte unescaped.
const Separator = 0x1e

// Next reads the first packet of a polling payload and returns what follows its separator; rest is nil after the last
// packet and after an error. The only error is ErrPacket, which an empty payload is too, as is the empty packet behind a
// separator at the end: so call Next first and look at rest then.
//
//	for more := true; more; more = payload != nil {
//		p, payload, err = eio.Next(payload)
//		…
//	}
//
// Data aliases payload; base64 is decoded in place, so that packet's part of payload is overwritten. As in the reference,
// the packets ahead of a broken one count.
func Next(payload []byte) (p Packet, rest []byte, err error) {
	if end := bytes.IndexByte(payload, Separator); end >= 0 {
		payload, rest = payload[:end], payload[end+1:]
	}
	if p, err = Parse(payload); err != nil {
		return Packet{}, nil, err
	}
	return p, rest, nil
}

// AppendPayload appends packets to dst as one polling payload and returns it. Data that is not binary must not hold a
// Separator.
func AppendPayload(dst []byte, packets ...Packet) []byte {
	for i, p := range packets {
		if i > 0 {
			dst = append(dst, Separator)
		}
		dst = Append(dst, p)
	}
	return dst
}
