package contest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/bench/load"
	"partyline/bench/process"
)

const (
	owners = 100 // clients that are in all the rooms, each in as many
	sample = 500 // rooms that are checked
)

// manyRooms measures many rooms on one edge, each with one member, and a restart of NATS.
func (s *Scale) manyRooms(d *deployment) error {
	s.phase = "start"
	port, err := freePort()
	if err != nil {
		return err
	}
	broker, err := s.programs.natsAt(d, "nats-server", port)
	if err != nil {
		return err
	}
	service, err := s.enter(d, d.nats)
	if err != nil {
		return err
	}
	defer service.close()
	if err := s.join(d, service); err != nil {
		return err
	}
	s.phase = "restart"
	edge := service.edge
	before, err := process.CPU(edge.PID)
	if err != nil {
		return err
	}
	d.lose(broker)
	if err := edge.becomeUnready(); err != nil {
		return err
	}
	if broker, err = s.programs.natsAt(d, "nats-server", port); err != nil {
		return err
	}
	begin := time.Now()
	if err := edge.becomeReady(); err != nil {
		return err
	}
	s.fact("NATS listens, until the edge is ready", time.Since(begin).Seconds(), "s")
	return s.resubscribed(edge, broker, service, before)
}

// resubscribed measures the cost of subscribing to everything again, and checks that all rooms are received again.
func (s *Scale) resubscribed(edge, broker *program, service *roomService, before float64) error {
	after, err := process.CPU(edge.PID)
	if err != nil {
		return err
	}
	s.fact("edge", after-before, "s CPU")
	if after, err = process.CPU(broker.PID); err != nil {
		return err
	}
	s.fact("NATS, since its start", after, "s CPU")
	if err := s.look(service.conn); err != nil {
		return err
	}
	time.Sleep(s.settle)
	memory, err := process.PSS(edge.PID)
	s.fact("edge, a room", float64(memory-service.before.edges)/float64(s.rooms), "bytes PSS")
	return err
}

// manyRoomsInCluster is manyRooms with three NATS servers. The edge is connected to one, which is killed in the end.
func (s *Scale) manyRoomsInCluster(d *deployment) error {
	s.phase = "start"
	var ports, routes [3]int
	var err error
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
		if routes[i], err = freePort(); err != nil {
			return err
		}
	}
	var servers []*program
	for i := range ports {
		one, err := s.programs.natsAt(d, "nats-"+strconv.Itoa(i+1), ports[i], "--cluster_name", "scale",
			"--cluster", "nats://127.0.0.1:"+strconv.Itoa(routes[i]), "--routes", "nats://127.0.0.1:"+strconv.Itoa(routes[0]))
		if err != nil {
			return err
		}
		servers = append(servers, one)
	}
	time.Sleep(3 * time.Second) // until all servers are connected
	service, err := s.enter(d, "nats://127.0.0.1:"+strconv.Itoa(ports[0]))
	if err != nil {
		return err
	}
	defer service.close()
	before, err := memories(servers)
	if err != nil {
		return err
	}
	if err := s.joinThrough(d, service, ports[2]); err != nil {
		return err
	}
	after, err := memories(servers)
	if err != nil {
		return err
	}
	for i := range servers {
		s.fact(servers[i].Name+", a room", float64(after[i]-before[i])/float64(s.rooms), "bytes PSS")
	}
	s.phase = "failover"
	cpu, err := process.CPU(service.edge.PID)
	if err != nil {
		return err
	}
	begin := time.Now()
	d.lose(servers[0])
	if err := service.edge.becomeUnready(); err != nil {
		return err
	}
	if err := service.edge.becomeReady(); err != nil {
		return err
	}
	s.fact("a server is killed, until the edge is ready", time.Since(begin).Seconds(), "s")
	return s.resubscribed(service.edge, servers[1], service, cpu)
}

// joinThrough is join, and measures when another NATS server has the subscriptions.
func (s *Scale) joinThrough(d *deployment, service *roomService, port int) error {
	other, err := nats.Connect("nats://127.0.0.1:" + strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer other.Close()
	if err := s.join(d, service); err != nil {
		return err
	}
	return s.look(other)
}

func memories(servers []*program) (all []int64, err error) {
	for _, one := range servers {
		memory, err := process.PSS(one.PID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Name, err)
		}
		all = append(all, memory)
	}
	return all, nil
}

// natsAt starts a NATS server on a given port.
func (p *Programs) natsAt(d *deployment, name string, port int, more ...string) (*program, error) {
	args := append([]string{"-a", "127.0.0.1", "-p", strconv.Itoa(port)}, more...)
	one, _, err := d.addSilent(name, process.Broker, "Server is ready",
		exec.Command(filepath.Join(p.bin, "nats-server"), args...))
	d.nats = "nats://127.0.0.1:" + strconv.Itoa(port)
	return one, err
}

// becomeUnready waits until an edge is not ready.
func (p *program) becomeUnready() error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		response, err := http.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s stays ready", p.Name)
}

// roomService puts clients of one edge into rooms, over NATS.
type roomService struct {
	edge    *program
	clients *generators
	conn    *nats.Conn
	ids     []string // of the clients
	before  holdings // when no client was in any of the many rooms
}

func (r *roomService) close() {
	r.clients.stop()
	r.conn.Close()
}

// enter starts an edge and its clients.
func (s *Scale) enter(d *deployment, url string) (*roomService, error) {
	if err := s.programs.addEdge(d, "edge", "--nats.url="+url, "--limits.rooms_per_socket=0"); err != nil {
		return nil, err
	}
	r := &roomService{edge: d.programs[len(d.programs)-1]}
	var err error
	if r.clients, _, err = s.programs.gather(1, load.Job{Addresses: d.addresses, Clients: owners,
		RoomSize: crowdRoom}); err != nil {
		return nil, err
	}
	if r.conn, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err == nil {
		r.ids, err = r.sockets()
	}
	if err == nil {
		time.Sleep(s.settle)
		r.before, err = d.holdings()
	}
	if err != nil {
		r.clients.stop()
		return nil, err
	}
	return r, nil
}

// sockets is the ids of all clients.
func (r *roomService) sockets() (ids []string, err error) {
	answer, err := r.conn.Request("sio.bench.fetch.all", nil, patience)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	var sockets []struct{ ID string } // the first tells of the edge
	if err := json.Unmarshal(answer.Data, &sockets); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	for _, one := range sockets {
		if one.ID != "" {
			ids = append(ids, one.ID)
		}
	}
	if len(ids) != owners {
		return nil, fmt.Errorf("fetch: %d clients", len(ids))
	}
	return ids, nil
}

func roomName(i int) string { return fmt.Sprintf("many-%06d", i) }

// join has all clients join their rooms at once, and waits for the answers: then the subscriptions are active.
func (s *Scale) join(d *deployment, r *roomService) error {
	s.phase = "join"
	inbox := nats.NewInbox()
	answers, err := r.conn.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	cost, err := meter(d, r.clients)
	if err != nil {
		return err
	}
	each := s.rooms / owners
	for i, id := range r.ids {
		var rooms []string
		for j := range each {
			rooms = append(rooms, roomName(i*each+j))
		}
		body, err := json.Marshal(rooms)
		if err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if err := r.conn.PublishRequest("sio.bench.join.socket."+id, inbox, body); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	for range r.ids {
		answer, err := answers.NextMsg(time.Minute)
		if err != nil {
			return fmt.Errorf("the answer to a join: %w", err)
		}
		if text := answer.Header.Get("Sio-Error"); text != "" {
			return errors.New(text)
		}
	}
	sum, err := cost()
	if err != nil {
		return err
	}
	n := float64(s.rooms)
	s.fact("rooms", n, "")
	s.fact("until all joins are answered", sum.seconds, "s")
	s.fact("edge, a room", sum.edges*1e6/n, "µs CPU")
	s.fact("NATS, a room", sum.broker*1e6/n, "µs CPU")
	if err := s.look(r.conn); err != nil {
		return err
	}
	time.Sleep(s.settle)
	after, err := d.holdings()
	s.fact("edge, a room", float64(after.edges-r.before.edges)/n, "bytes PSS")
	s.fact("NATS, all servers, a room", float64(after.broker-r.before.broker)/n, "bytes PSS")
	return err
}

// look fetches the members of some rooms, the last ones first, until each has its member.
func (s *Scale) look(conn *nats.Conn) error {
	begin := time.Now()
	for i := range min(sample, s.rooms) {
		room := roomName(s.rooms - 1 - i*(s.rooms/sample))
		for {
			answer, err := conn.Request("sio.bench.fetch.room."+room, nil, 5*time.Second)
			if err == nil && bytes.Contains(answer.Data, []byte(`"sockets":1`)) {
				break
			}
			if time.Since(begin) > patience {
				return fmt.Errorf("no edge receives the room %s: %v", room, err)
			}
			time.Sleep(time.Millisecond)
		}
		if i == 0 {
			s.fact("the last room is heard, after", time.Since(begin).Seconds()*1e3, "ms")
		}
	}
	return nil
}
