package contest

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	changeRate   = 200 // joins and leaves a second
	staysShown   = 15  // joins later a visitor leaves: 150 ms, so that each is in a message; edges publish every 100 ms
	presenceRuns = 10  // of each kind, alternately, so that other load on the machine affects all kinds
)

// presenceConfig has the same namespace twice: /shown shows who is in its rooms.
const presenceConfig = `namespaces:
  "/bench": {connect: open, rooms: ["*"]}
  "/shown": {connect: open, rooms: ["*"], presence: true}
`

// visited is a room whose members stay, and sockets that enter and leave it.
type visited struct {
	name      string
	token     string // of the namespace
	room      string
	members   int
	visitors  []string
	edge, all []float64 // CPU µs a join or leave, of each run; all: with NATS
}

// presence measures what joins and leaves cost where rooms show who is in them, and where they do not.
func (s *Scale) presence(d *deployment) (err error) {
	s.phase = "start"
	if d.store, err = os.MkdirTemp("", "partyline-bench"); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	d.config = filepath.Join(d.store, "edge.yaml")
	if err := os.WriteFile(d.config, []byte(presenceConfig), 0o600); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := s.programs.addNATS(d); err != nil {
		return err
	}
	if err := s.programs.addEdge(d, "edge", "--nats.url="+d.nats); err != nil {
		return err
	}
	nc, err := nats.Connect(d.nats)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	var rooms []*visited
	for _, size := range []int{10, 100} {
		for _, token := range []string{"bench", "shown"} {
			v := &visited{name: fmt.Sprintf("%s of %d", map[string]string{"bench": "room", "shown": "shown"}[token], size),
				token: token, room: fmt.Sprint("hall", size), members: size}
			leave, err := v.fill(d.addresses[0], nc)
			defer leave()
			if err != nil {
				return err
			}
			rooms = append(rooms, v)
		}
	}
	for run := range presenceRuns + 1 { // the first one is a warm-up
		for _, v := range rooms {
			s.phase = v.name
			if err := v.visit(d, nc, s.lasts/5, run > 0); err != nil {
				return err
			}
		}
	}
	for i, v := range rooms {
		s.phase = v.name
		s.fact("edge, a join or leave", median(v.edge), "µs CPU")
		s.fact("edge and NATS, a join or leave", median(v.all), "µs CPU")
		if v.token == "shown" {
			s.fact("beside a room that is not shown", median(v.all)/median(rooms[i-1].all), "times")
		}
	}
	return nil
}

// fill connects the members, who enter the room, and the visitors.
func (v *visited) fill(address string, nc *nats.Conn) (leave func(), err error) {
	ids, leave, err := arrive(address, v.token, v.members+newcomers)
	if err != nil {
		return leave, err
	}
	for _, id := range ids[:v.members] {
		if _, err := nc.Request("sio."+v.token+".join.socket."+id, []byte(`["`+v.room+`"]`), patience); err != nil {
			return leave, fmt.Errorf("join: %w", err)
		}
	}
	v.visitors = ids[v.members:]
	return leave, nil
}

// visit has visitors enter the room and leave it for some time.
func (v *visited) visit(d *deployment, nc *nats.Conn, lasts time.Duration, counts bool) error {
	inbox := nats.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	cost, err := meter(d, nil)
	if err != nil {
		return err
	}
	begin, count := time.Now(), 2*int(lasts.Seconds()*changeRate/2)
	for i := range count {
		verb, visitor := "join", i/2
		if i%2 == 1 {
			verb, visitor = "leave", max(0, i/2-staysShown)
		}
		subject := "sio." + v.token + "." + verb + ".socket." + v.visitors[visitor%newcomers]
		if err := nc.PublishRequest(subject, inbox, []byte(`["`+v.room+`"]`)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if _, err := answers.NextMsg(patience); err != nil {
			return fmt.Errorf("the answer to a %s: %w", verb, err)
		}
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * time.Second / changeRate)))
	}
	time.Sleep(200 * time.Millisecond) // the last ones are shown
	sum, err := cost()
	if err == nil && counts {
		v.edge = append(v.edge, sum.edges*1e6/float64(count))
		v.all = append(v.all, (sum.edges+sum.broker)*1e6/float64(count))
	}
	return err
}
