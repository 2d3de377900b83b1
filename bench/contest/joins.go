package contest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/bench/load"
)

const (
	audience   = 1000 // clients that are in the hall all the time
	hallRate   = 100  // messages a second to the hall
	joinRate   = 100  // a second, each by a newcomer that leaves again
	newcomers  = 20
	stays      = 5  // joins later a newcomer leaves
	fanOutRuns = 15 // of each kind, alternately, so that other load on the machine affects all kinds
)

// fanOut is a kind of fan-out to the hall.
type fanOut struct {
	name  string
	joins bool // newcomers join the hall meanwhile
	all   bool // by way of all with Sio-Rooms, as a service speaks to a room whose newcomers are not confirmed
}

var fanOuts = []fanOut{{name: "alone"}, {name: "joins", joins: true}, {name: "joins, all", joins: true, all: true}}

// joins measures the cost of a fan-out while sockets join its room, and alone.
func (s *Scale) joins(d *deployment) error {
	s.phase = "start"
	if err := s.programs.addNATS(d); err != nil {
		return err
	}
	if err := s.programs.addEdge(d, "edge", "--nats.url="+d.nats); err != nil {
		return err
	}
	service, err := nats.Connect(d.nats)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer service.Close()
	c := &crowd{Scale: s, deployment: d, nats: service, count: audience}
	if c.clients, _, err = s.programs.gather(1, load.Job{Addresses: d.addresses, Clients: audience,
		RoomSize: crowdRoom}); err != nil {
		return err
	}
	defer c.clients.stop()
	ids, leave, err := arrive(d.addresses[0], "bench", newcomers)
	defer leave()
	if err != nil {
		return err
	}
	edge, broker := make([][]float64, len(fanOuts)), make([][]float64, len(fanOuts))
	c.lasts /= 5
	var all load.Heard
	for range fanOutRuns {
		for i, kind := range fanOuts {
			s.phase = kind.name
			sum, heard, err := c.fanOut(kind, ids)
			if err != nil {
				return err
			}
			all.Lost += heard.Lost
			all.Doubled += heard.Doubled + heard.Reordered + heard.Misplaced
			edge[i] = append(edge[i], sum.edges/sum.seconds)
			broker[i] = append(broker[i], sum.broker/sum.seconds)
		}
	}
	for i, kind := range fanOuts {
		s.phase = kind.name
		s.fact("edge, median", median(edge[i]), "cores")
		s.fact("NATS, median", median(broker[i]), "cores")
		s.fact("edge and NATS, beside alone", (median(edge[i])+median(broker[i]))/(median(edge[0])+median(broker[0])),
			"times")
	}
	s.faults(&all)
	return nil
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// fanOut sends to the hall for the time of a run.
func (c *crowd) fanOut(kind fanOut, ids []string) (sum spending, heard *load.Heard, err error) {
	count := max(1, int(c.lasts.Seconds()*hallRate))
	if err := c.clients.order(load.Order{Messages: count, Lasts: c.lasts + 30*time.Second}); err != nil {
		return sum, nil, err
	}
	time.Sleep(200 * time.Millisecond) // until the generator counts
	cost, err := meter(c.deployment, c.clients)
	if err != nil {
		return sum, nil, err
	}
	begin, joined := time.Now(), 0
	for said := range count {
		if kind.joins {
			for ; joined < said*joinRate/hallRate; joined++ {
				if err := c.pass(ids, joined); err != nil {
					return sum, nil, err
				}
			}
		}
		m := nats.NewMsg("sio.bench.emit.room." + load.Hall)
		if kind.all {
			m.Subject = "sio.bench.emit.all"
			m.Header.Set("Sio-Rooms", load.Hall)
		}
		m.Data = load.Announcement(c.announced, time.Since(c.clients.began))
		c.announced++
		if err := c.nats.PublishMsg(m); err != nil {
			return sum, nil, fmt.Errorf("publish: %w", err)
		}
		time.Sleep(time.Until(begin.Add(time.Duration(said+1) * time.Second / hallRate)))
	}
	if sum, err = cost(); err != nil {
		return sum, nil, err
	}
	heard, err = c.heard()
	return sum, heard, err
}

// pass lets the next newcomer into the hall, and an earlier one out.
func (c *crowd) pass(ids []string, number int) error {
	body := []byte(`["` + load.Hall + `"]`)
	err := c.nats.PublishRequest("sio.bench.join.socket."+ids[number%len(ids)], nats.NewInbox(), body)
	if err == nil && number >= stays {
		err = c.nats.Publish("sio.bench.leave.socket."+ids[(number-stays)%len(ids)], body)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// arrive connects clients to a namespace, which read whatever comes, until leave.
func arrive(address, namespace string, count int) (ids []string, leave func(), err error) {
	var all []*websocket.Conn
	leave = func() {
		for _, ws := range all {
			_ = ws.Close()
		}
	}
	for range count {
		ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
		if err != nil {
			return nil, leave, fmt.Errorf("connect a newcomer: %w", err)
		}
		all = append(all, ws)
		if err := ws.WriteMessage(websocket.TextMessage, []byte("40/"+namespace+",")); err != nil {
			return nil, leave, fmt.Errorf("connect a newcomer: %w", err)
		}
		id := ""
		for id == "" {
			_, packet, err := ws.ReadMessage()
			if err != nil {
				return nil, leave, fmt.Errorf("connect a newcomer: %w", err)
			}
			if body, found := strings.CutPrefix(string(packet), "40/"+namespace+","); found {
				var connected struct{ SID string }
				if err := json.Unmarshal([]byte(body), &connected); err != nil {
					return nil, leave, fmt.Errorf("connect a newcomer: %w", err)
				}
				id = connected.SID
			}
		}
		ids = append(ids, id)
		go func() {
			for {
				_, packet, err := ws.ReadMessage()
				if err != nil {
					return
				}
				if string(packet) == "2" {
					_ = ws.WriteMessage(websocket.TextMessage, []byte("3"))
				}
			}
		}()
	}
	return ids, leave, nil
}
