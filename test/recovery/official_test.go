package recovery

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"partyline/test/recovery/judge"
	"partyline/test/stand"
)

// officials is how many official clients there are: JSON and msgpack over WebSocket, polling, and with an upgrade.
const officials = 6

// official are clients of the npm package, in one process of Node.js. What they record is in a file.
type official struct {
	s       *stage
	process *stand.Process
	file    string
	from    map[string]judge.Pos // SureFrom by socket
}

// startOfficial runs official clients. It returns nil if Node.js is missing.
func (s *stage) startOfficial() *official {
	s.t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		s.t.Log("LEFT OUT: the official clients need node in PATH")
		return nil
	}
	if _, err := os.Stat("../node/node_modules/socket.io-msgpack-parser"); err != nil {
		s.t.Log("LEFT OUT: the official clients need their npm packages; run `npm ci` in test/node")
		return nil
	}
	o := &official{s: s, file: filepath.Join(s.t.TempDir(), "record"), from: make(map[string]judge.Pos)}
	var urls []string
	for _, e := range s.edges {
		urls = append(urls, "http://"+e.Address)
	}
	var auths []auth
	for i := range officials {
		auths = append(auths, auth{fmt.Sprint("official", i), someRooms()})
	}
	text, _ := json.Marshal(auths)
	o.process = stand.Start(s.t, "official clients", "node", "../node/recovery.mjs", o.file, strings.Join(urls, ","), string(text))
	return o
}

// record is what one line of the file says: a CONNECT, or an event.
type record struct {
	Name      string
	SID       string // of a CONNECT
	Recovered bool
	Away      int // milliseconds
	Event     []json.RawMessage
	Wrong     string
}

// records reads the file.
func (o *official) records() (all []record) {
	o.s.t.Helper()
	data, _ := os.ReadFile(o.file)
	for line := range strings.Lines(string(data)) {
		var r record
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &r) == nil {
			all = append(all, r)
		}
	}
	return all
}

// offset returns the last offset that a client has noted, if that is not long ago.
func (o *official) offset(name string) (last string) {
	if o == nil {
		return ""
	}
	file, err := os.Open(o.file)
	if err != nil {
		return ""
	}
	defer file.Close()
	const recent = 1 << 18
	if end, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, end-recent), io.SeekStart)
	}
	data, _ := io.ReadAll(file)
	for line := range strings.Lines(string(data)) {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && r.Name == name && r.Event != nil {
			body, _ := json.Marshal(r.Event)
			if _, offset, _ := parse(body); offset != "" {
				last = offset
			}
		}
	}
	return last
}

// recorded returns the sessions of all official clients.
func (o *official) recorded() (all []*judge.Session) {
	if o == nil {
		return nil
	}
	current := make(map[string]*judge.Session)
	for _, r := range o.records() {
		session := current[r.Name]
		switch {
		case r.Wrong != "":
			o.s.t.Errorf("%s: %s", r.Name, r.Wrong)
		case r.SID != "" && (session == nil || !r.Recovered):
			if session != nil {
				session.Ended = true
			}
			from, known := o.from[r.SID]
			if !known {
				from = judge.Never
			}
			session = &judge.Session{Client: r.Name, ID: r.SID, SureFrom: from}
			current[r.Name] = session
			all = append(all, session)
		case r.SID != "" && r.SID != session.ID:
			o.s.t.Errorf("%s recovered as %s, and was %s", r.Name, r.SID, session.ID)
		case r.Event != nil && session != nil:
			body, _ := json.Marshal(r.Event)
			id, last, _ := parse(body)
			if live := strings.HasPrefix(id, "b"); last != "" || !live {
				session.Got = append(session.Got, judge.Got{ID: id, Offset: last, Live: live})
			}
		}
	}
	return all
}

// isComplete reports whether all have connected once.
func (o *official) isComplete() bool {
	return o == nil || len(o.recorded()) >= officials
}

// begin demands of new sessions all events behind a position.
func (o *official) begin(from judge.Pos) {
	if o == nil {
		return
	}
	for _, session := range o.recorded() {
		if _, known := o.from[session.ID]; !known {
			o.from[session.ID] = from
		}
	}
}

// have reports whether all have received a probe, or a later one.
func (o *official) have(probe int) bool {
	if o == nil {
		return true
	}
	have := make(map[string]bool)
	for _, session := range o.recorded() {
		for _, g := range session.Got {
			if probeOf(g.ID) >= probe {
				have[session.Client] = true
			}
		}
	}
	return len(have) == officials
}

// count returns how often they were recovered, and notes about other ends of sessions.
func (o *official) count() (recoveries int, refused []string) {
	if o == nil {
		return 0, nil
	}
	var known []string
	for _, r := range o.records() {
		switch {
		case r.SID == "":
		case r.Recovered:
			recoveries++
		case slices.Contains(known, r.Name):
			refused = append(refused, fmt.Sprintf("%s was away for %d ms and not recovered", r.Name, r.Away))
		default:
			known = append(known, r.Name)
		}
	}
	return recoveries, refused
}
