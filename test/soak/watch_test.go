package soak

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"partyline/internal/edgetest"
)

// Figures of an edge, as its metrics name them.
const (
	resident    = "process_resident_memory_bytes"
	nextGC      = "go_memstats_next_gc_bytes" // twice of what the last collection left
	goroutines  = "go_goroutines"
	descriptors = "process_open_fds"
	seconds     = "process_cpu_seconds_total"
	sessions    = "partyline_sessions"
)

// losses are the counters of what an edge loses. Only a fault may raise them.
var losses = []string{
	"partyline_nats_channel_overflows_total", "partyline_nats_channel_dropped_total", "partyline_nats_publish_failed_total",
	"partyline_nats_answers_dropped_total", "partyline_nats_unsent_dropped_total", "partyline_nats_errors_total",
	"partyline_events_failed_total", "partyline_volatile_dropped_total", "partyline_sessions_too_large_total",
	"partyline_connects_given_up_total", "partyline_handshakes_refused_total", "partyline_connects_refused_total",
	`partyline_sessions_ended_total{reason="queue overflow"}`, `partyline_sessions_ended_total{reason="ping timeout"}`,
	`partyline_sessions_ended_total{reason="parse error"}`, `partyline_dropped_total{reason="bad subject"}`,
	`partyline_dropped_total{reason="bad body"}`, `partyline_dropped_total{reason="unknown verb"}`,
}

// figures are an edge's metrics, also the sums over labels. nil: it did not answer.
type figures map[string]float64

// minute is what was seen in a minute of the run: the median of the resident memory, and the least heap goal.
type minute struct{ at, resident, nextGC float64 }

// watch looks at the edges all the time.
type watch struct {
	s       *stage
	began   time.Time
	next    time.Time
	last    []figures            // of each edge
	seen    [][]figures          // of each edge, in this minute
	minutes [][]minute           // of each edge
	most    []figures            // of each edge
	lost    []map[string]float64 // of each edge: losses that no fault explains
	inFault []map[string]float64 // those that one explains
	cores   float64              // that the edges kept busy, in the end
}

func (s *stage) watch() *watch {
	n := len(s.edges)
	w := &watch{s: s, last: make([]figures, n), seen: make([][]figures, n), minutes: make([][]minute, n), most: make([]figures, n)}
	for i := range s.edges {
		w.lost, w.inFault = append(w.lost, make(map[string]float64)), append(w.inFault, make(map[string]float64))
		w.most[i] = make(figures)
	}
	return w
}

// look reads the metrics of all edges.
func (w *watch) look() (all []figures) {
	for _, p := range w.s.edges {
		all = append(all, readFigures(p.adminAddress()))
	}
	return all
}

func readFigures(admin string) figures {
	response, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	f := make(figures)
	for line := range strings.Lines(string(text)) {
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64); err == nil {
			f[line[:i]] = value
			if name, _, labelled := strings.Cut(line[:i], "{"); labelled {
				f[name] += value
			}
		}
	}
	return f
}

func (w *watch) begin() {
	w.began, w.next = time.Now(), time.Now()
	w.last = w.look()
	for _, name := range slices.Concat(losses, slices.Collect(maps.Keys(mustReturn)), []string{resident, nextGC, seconds}) {
		if _, known := w.last[0][name]; !known {
			w.s.t.Fatalf("an edge has no metric %s", name)
		}
	}
}

// tick looks every five seconds.
func (w *watch) tick() {
	if time.Now().Before(w.next) {
		return
	}
	w.next = w.next.Add(5 * time.Second)
	w.compare(w.look())
	if minutes := time.Since(w.began).Minutes(); minutes >= float64(len(w.minutes[0])+1) {
		for i, seen := range w.seen {
			w.minutes[i] = append(w.minutes[i], minute{minutes, middle(seen, resident), least(seen, nextGC)})
			w.seen[i] = nil
		}
	}
}

// compare counts what was lost since the last look. An edge that was replaced counts from 0.
func (w *watch) compare(now []figures) {
	for i, f := range now {
		p, last := w.s.edges[i], w.last[i]
		if f == nil {
			continue
		}
		if f["process_start_time_seconds"] != last["process_start_time_seconds"] {
			last = nil
		}
		for _, name := range losses {
			switch more := f[name] - last[name]; {
			case more <= 0:
			case p.suffered(time.Now().Add(-lateBy), time.Now()):
				w.inFault[i][name] += more
			default:
				w.lost[i][name] += more
			}
		}
		for _, name := range []string{resident, nextGC, goroutines, descriptors, sessions} {
			w.most[i][name] = max(w.most[i][name], f[name])
		}
		w.last[i] = f
		w.seen[i] = append(w.seen[i], f)
	}
}

func (w *watch) end() {
	w.compare(w.look())
	for _, f := range w.last[:len(w.last)-1] {
		w.cores += f[seconds] / time.Since(w.began).Seconds()
	}
}

// mustReturn are the figures that must return when all clients are gone, and how much more than before the run is allowed.
var mustReturn = map[string]float64{
	goroutines: 3, descriptors: 3, sessions: 0, "partyline_sockets": 0, "partyline_rooms": 0,
	"partyline_nats_subscriptions": 0, "partyline_asks_awaited": 0, "partyline_connects_waiting": 0,
}

// lookWhenQuiet waits until the edges hold no more than before, and returns what they hold.
func (w *watch) lookWhenQuiet(before []figures) (after []figures) {
	w.s.t.Helper()
	var more []string
	for end := time.Now().Add(edgetest.Patience); time.Now().Before(end); {
		http.DefaultClient.CloseIdleConnections()
		if after, more = w.look(), nil; !slices.ContainsFunc(after, func(f figures) bool { return f == nil }) {
			for i := range after {
				for name, allowed := range mustReturn {
					if after[i][name] > before[i][name]+allowed {
						more = append(more, w.s.edges[i].name+" has "+text(after[i][name])+" "+name+", and had "+text(before[i][name]))
					}
				}
			}
			if more == nil {
				return after
			}
		}
		<-time.After(200 * time.Millisecond)
	}
	w.s.t.Errorf("not everything is back:\n%s", strings.Join(more, "\n"))
	return after
}

// The most that the memory of an edge may grow in an hour, in bytes. A session that leaves 200 bytes behind grows the
// heap by more.
const (
	mostResident = 6 << 20
	mostHeap     = 2 << 20
)

// judge compares the edges with what is allowed.
func (w *watch) judge(before, after []figures) {
	w.s.t.Helper()
	for i, p := range w.s.edges {
		for _, name := range slices.Sorted(maps.Keys(w.lost[i])) {
			w.s.t.Errorf("%s: %s rose by %v without a fault", p.name, name, w.lost[i][name])
		}
		for _, name := range slices.Sorted(maps.Keys(w.inFault[i])) {
			w.s.t.Logf("%s: %s rose by %v in faults", p.name, name, w.inFault[i][name])
		}
		rss, heap, ok := w.growth(i)
		if !ok {
			continue
		}
		w.s.t.Logf("%s: resident memory grows by %.2f MB an hour, the heap by %.2f MB", p.name, rss/1e6, heap/1e6)
		if i < len(w.s.edges)-1 && (rss > mostResident || heap > mostHeap) {
			w.s.t.Errorf("the memory of %s grows: %+v", p.name, w.minutes[i])
		}
	}
}

// growth returns the growth of an edge's memory in bytes an hour, after a warm-up of a sixth of the run.
func (w *watch) growth(i int) (rss, heap float64, ok bool) {
	all := w.minutes[i][len(w.minutes[i])/6:]
	if len(all) < 24 { // of less than half an hour, noise is more than any growth
		return 0, 0, false
	}
	rss = slope(all, func(m minute) float64 { return m.resident })
	heap = slope(all, func(m minute) float64 { return m.nextGC / 2 })
	return 60 * rss, 60 * heap, true
}

// slope is the median of the slopes between all pairs of minutes, which single outliers do not move.
func slope(all []minute, of func(minute) float64) float64 {
	var slopes []float64
	for i, a := range all {
		for _, b := range all[i+1:] {
			slopes = append(slopes, (of(b)-of(a))/(b.at-a.at))
		}
	}
	return median(slopes)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func middle(seen []figures, name string) float64 {
	var all []float64
	for _, f := range seen {
		all = append(all, f[name])
	}
	return median(all)
}

func least(seen []figures, name string) float64 {
	if len(seen) == 0 {
		return 0
	}
	return slices.MinFunc(seen, func(a, b figures) int { return cmp.Compare(a[name], b[name]) })[name]
}

func text(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// fact is one result.
type fact struct {
	Part  string  `json:"part"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
}

// store writes the results.
func (w *watch) store(s *stage, before, after []figures) {
	if *results == "" {
		return
	}
	c := s.ledger.sum
	all := []fact{}
	add := func(part, what string, value float64) { all = append(all, fact{part, what, value}) }
	for _, one := range []struct {
		what  string
		value int
	}{
		{"clients", *size}, {"sessions", c.sessions}, {"changes of room", c.moves}, {"messages", c.messages}, {"deliveries", c.deliveries},
		{"acks", c.acks}, {"faults", len(s.faults)}, {"times the machine stalled for more than two seconds", s.stalls()},
		{"lost", c.lost}, {"doubled", c.doubled}, {"reordered", c.reordered}, {"to a room after it was left", c.misplaced},
		{"acks lost", c.acksLost}, {"acks twice, or after 30 seconds", c.acksDoubled}, {"sessions ended without a fault", c.ended}, {"connects and joins refused without a fault", c.refused},
		{"sessions that broke off and were recovered", c.recovered}, {"not recovered", c.forgotten},
		{"deliveries lost in faults", c.lostInFaults}, {"acks lost in faults", c.acksLostInFaults},
		{"sessions ended by faults", c.endedInFaults}, {"connects and joins refused in faults", c.refusedInFaults},
	} {
		add("all", one.what, float64(one.value))
	}
	add("all", "cores of the two edges that stayed", w.cores)
	for i, p := range s.edges {
		rss, heap, ok := w.growth(i)
		if i == len(s.edges)-1 || !ok {
			continue
		}
		minutes := w.minutes[i][len(w.minutes[i])/6:]
		add(p.name, "resident memory after the warm-up, MB", minutes[0].resident/1e6)
		add(p.name, "resident memory at the end, MB", minutes[len(minutes)-1].resident/1e6)
		add(p.name, "growth an hour, MB", rss/1e6)
		add(p.name, "heap after the warm-up, MB", minutes[0].nextGC/2e6)
		add(p.name, "heap at the end, MB", minutes[len(minutes)-1].nextGC/2e6)
		add(p.name, "growth of the heap an hour, MB", heap/1e6)
		for _, one := range [][2]string{{"goroutines", goroutines}, {"descriptors", descriptors}} {
			add(p.name, one[0]+" before", before[i][one[1]])
			add(p.name, one[0]+" at most", w.most[i][one[1]])
			add(p.name, one[0]+" after", after[i][one[1]])
		}
		var unexplained, explained float64
		for _, n := range w.lost[i] {
			unexplained += n
		}
		for _, n := range w.inFault[i] {
			explained += n
		}
		add(p.name, "counters of losses", unexplained)
		add(p.name, "counters of losses in faults", explained)
	}
	body, err := json.MarshalIndent(map[string]any{"time": time.Now().UTC(), "seconds": lasts.Seconds(), "facts": all}, "", "  ")
	if err == nil {
		err = os.WriteFile(*results, append(body, '\n'), 0o644)
	}
	if err != nil {
		s.t.Error(err)
	}
}
