package report

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"partyline/bench/contest"
)

func measured(scenario, phase, server string, round int, name string, value float64) contest.Measurement {
	return contest.Measurement{Scenario: scenario, Phase: phase, Server: server, Round: round,
		Figures: map[string]float64{name: value}}
}

func TestMedianOfRoundsAndTheWorstOfFaults(t *testing.T) {
	var all []contest.Measurement
	for round, value := range []float64{3, 1, 2} {
		all = append(all, measured("rooms", "1k", contest.Edge, round+1, contest.CPU, value))
	}
	all = append(all, measured("rooms", "1k", contest.Edge, 4, contest.Lost, 0),
		measured("rooms", "1k", contest.Edge, 5, contest.Lost, 7))
	s := Summarise(all)
	if v, _ := s.Get("rooms", "1k", contest.Edge, contest.CPU); v != 2 {
		t.Errorf("median %v", v)
	}
	if s.Faults() != 7 {
		t.Errorf("faults %v", s.Faults())
	}
}

func TestTheEdgeIsJudgedAndTheEmbeddedOneStandsBeside(t *testing.T) {
	all := []contest.Measurement{
		measured("fanout", "full", contest.Embedded, 1, contest.PerSecond, 1300),
		measured("fanout", "full", contest.Edge, 1, contest.PerSecond, 1100),
		measured("fanout", "full", contest.SocketIO, 1, contest.PerSecond, 100),
		measured("fanout", "full", contest.Limit, 1, contest.PerSecond, 1000),
	}
	verdicts := Summarise(all).Judge()
	if len(verdicts) != 2 || verdicts[0].Met || !verdicts[1].Met {
		t.Fatalf("%+v", verdicts)
	}
	text := BarTable(verdicts).Text()
	if !strings.Contains(text, "edge 11.0  NOT MET  embedded 13.0") {
		t.Error(text)
	}
}

func TestChartIsWellFormed(t *testing.T) {
	text := chart("A & B", "µs < 1", []line{{"edge", 3, 2, 4, true}, {"limit", 0, 0, 0, false}})
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}

func TestDocumentsKeepTheirProse(t *testing.T) {
	root := t.TempDir()
	for name, before := range map[string]string{
		performance: "# Prose\n<!-- machine -->\nold\n<!-- end -->\nmore\n<!-- bars -->\n<!-- end -->\n<!-- charts -->\nold\n<!-- end -->\nlast\n",
		details:     "# Prose\n<!-- rooms -->\nold\n<!-- end -->\nlast\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := NewResults([]contest.Measurement{measured("rooms", "full", contest.Edge, 1, contest.CPU, 12.5)}, 1, false)
	if err := r.WriteDocs(root); err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string][]string{
		performance: {"# Prose\n", "\nmore\n", "\nlast\n", "](performance/rooms-cpu.svg)"},
		details:     {"# Prose\n", "\nlast\n", "| edge | 12.5 |"},
	} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("no %q in\n%s", part, text)
			}
		}
		if strings.Contains(string(text), "old") {
			t.Errorf("something old is left in\n%s", text)
		}
	}
}

func TestSoakIsShownIfItWasLong(t *testing.T) {
	root := t.TempDir()
	document, file := filepath.Join(root, performance), filepath.Join(root, "soak.json")
	if err := os.MkdirAll(filepath.Dir(document), 0o755); err != nil {
		t.Fatal(err)
	}
	before := "prose\n<!-- soak -->\nold\n<!-- end -->\nlast\n"
	if err := os.WriteFile(document, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	for seconds, want := range map[string]string{"60": "old\n", "3600": "| lost | 0 |"} {
		facts := `{"seconds":` + seconds + `,"facts":[{"part":"all","what":"lost"},{"part":"edge 0","what":"heap","value":1.5}]}`
		if err := os.WriteFile(file, []byte(facts), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := LoadSoak(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteDocs(root); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(document); !strings.Contains(string(text), want) {
			t.Errorf("after %s s the document has no %q:\n%s", seconds, want, text)
		}
		if err := os.WriteFile(document, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealDocumentsHaveAllMarks(t *testing.T) {
	marks := map[string][]string{performance: {"machine", "bars", "charts", "soak"}}
	for _, s := range contest.Scenarios(false) {
		marks[details] = append(marks[details], s.Name)
	}
	for name, all := range marks {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range all {
			if _, err := replace(string(text), mark, ""); err != nil {
				t.Errorf("%s: %s: %v", name, mark, err)
			}
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.654: "0.65", 12.34: "12.3", 123.4: "123", 1234567: "1,234,567",
		1000: "1,000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
