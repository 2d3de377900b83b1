package load

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// poster is one HTTP connection. It has one request under way, which emits a message to the room of the listener.
type poster struct {
	fd, index int
	answer    []byte // what came of it
}

// hall is the room of the listener, in Post.
const hall = "hall"

// connectPosters connects the posters.
func (s *swarm) connectPosters() error {
	target, err := address(s.job.Post)
	if err != nil {
		return err
	}
	s.posters, s.order = make(map[int]*poster), nil
	s.byIndex = make([]*poster, s.job.Posters)
	for i := range s.byIndex {
		fd, err := dial(i%sources, target)
		if err != nil {
			return err
		}
		p := &poster{fd: fd, index: i}
		s.posters[fd], s.byIndex[i], s.order = p, p, append(s.order, i)
		if err := s.poll.add(fd); err != nil {
			return err
		}
	}
	return nil
}

// post sends a poster's next message.
func (s *swarm) post(index, number int, at int64) error {
	message := appendMessage(nil, index, number, at)[len("42"+namespace+","):]
	body := `{"namespace":"` + namespace + `","to":{"room":"` + hall + `"},"event":` + string(message) + `}`
	request := s.job.PostHead + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	if n, err := unix.Write(s.byIndex[index].fd, []byte(request)); err != nil || n < len(request) {
		return fmt.Errorf("write a request: %d of %d bytes, %w", n, len(request), err)
	}
	return nil
}

// posted reads what came for a poster. After an answer it sends its next message.
func (s *swarm) posted(p *poster) error {
	n, err := unix.Read(p.fd, s.buffer)
	if err != nil || n == 0 {
		return fmt.Errorf("an HTTP connection has ended: %v", err)
	}
	p.answer = append(p.answer, s.buffer[:n]...)
	head, body, complete := bytes.Cut(p.answer, []byte("\r\n\r\n"))
	_, rest, _ := bytes.Cut(head, []byte("\r\nContent-Length: "))
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	length, err := strconv.Atoi(string(digits))
	switch {
	case !complete:
		return nil
	case err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 202 ")):
		return fmt.Errorf("the answer is %.300q", p.answer)
	case len(body) < length:
		return nil
	}
	p.answer = p.answer[:0]
	if s.closed && !s.hushed {
		s.utter(p.index, now())
	}
	return nil
}
