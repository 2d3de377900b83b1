package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Soak is the results of `make soak`, as test/soak stores them.
type Soak struct {
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"`
	Facts   []struct {
		Part  string  `json:"part"` // "all", or the name of an edge
		What  string  `json:"what"`
		Value float64 `json:"value"`
	} `json:"facts"`
}

// LoadSoak reads the results of a soak.
func LoadSoak(file string) (*Soak, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("results of the soak: %w", err)
	}
	s := &Soak{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// Tables returns what all clients saw, and what the edges held.
func (s *Soak) Tables() (all, edges *Table) {
	all, edges = &Table{Head: []string{"", "in all"}}, &Table{Head: []string{""}}
	for _, f := range s.Facts {
		if f.Part == "all" {
			all.Rows = append(all.Rows, []string{f.What, count(f.Value)})
			continue
		}
		column := slices.Index(edges.Head, f.Part)
		if column < 0 {
			column = len(edges.Head)
			edges.Head = append(edges.Head, f.Part)
		}
		row := slices.IndexFunc(edges.Rows, func(row []string) bool { return row[0] == f.What })
		if row < 0 {
			row = len(edges.Rows)
			edges.Rows = append(edges.Rows, []string{f.What})
		}
		edges.Rows[row] = append(edges.Rows[row], count(f.Value))
	}
	return all, edges
}

// count formats whole numbers without a fraction, and others as number does.
func count(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 100 {
		return strconv.Itoa(int(v))
	}
	return number(v)
}

// shortestSoak is how long a run must be for the document.
const shortestSoak = time.Hour

// WriteDocs replaces the section of the soak. After a run of less than an hour it does nothing, and returns false.
func (s *Soak) WriteDocs(root string) (bool, error) {
	lasts := time.Duration(s.Seconds * float64(time.Second))
	if lasts < shortestSoak {
		return false, nil
	}
	file := filepath.Join(root, performance)
	text, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	all, edges := s.Tables()
	section := fmt.Sprintf("Measured on %s, for %v.\n\n%s\n%s", s.Time.Format("2006-01-02"), lasts, all.Markdown(), edges.Markdown())
	changed, err := replace(string(text), "soak", section)
	if err != nil {
		return false, fmt.Errorf("%s: %w", performance, err)
	}
	return true, os.WriteFile(file, []byte(changed), 0o644)
}
