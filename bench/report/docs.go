package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Documents with generated sections, each between a mark and an end. Sections that are not in the first are in the
// second.
const (
	performance = "docs/performance.md"
	details     = "bench/README.md"
)

// WriteDocs replaces the tables between the marks of both documents, and the charts.
func (r *Results) WriteDocs(root string) error {
	texts := make(map[string]string)
	for _, name := range []string{performance, details} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		texts[name] = string(text)
	}
	folder := filepath.Join(root, "docs", "performance")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for mark, section := range r.sections() {
		name := details
		if slices.Contains([]string{"machine", "bars", "charts"}, mark) {
			name = performance
		}
		var err error
		if texts[name], err = replace(texts[name], mark, section); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, p := range pictures {
		if err := os.WriteFile(filepath.Join(folder, p.file), []byte(r.Summary.draw(p)), 0o644); err != nil {
			return err
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a section between a mark and the next end.
func replace(document, mark, section string) (string, error) {
	begin := "<!-- " + mark + " -->\n"
	const end = "<!-- end -->"
	before, rest, ok := strings.Cut(document, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("it has no %q with an %q behind it", strings.TrimSpace(begin), end)
	}
	return before + begin + section + end + after, nil
}

// sections returns the generated sections, by name.
func (r *Results) sections() map[string]string {
	sections := map[string]string{"machine": r.machine(), "bars": BarTable(r.Bars).Markdown(), "charts": r.charts()}
	for _, phase := range r.Summary.Phases() {
		var b strings.Builder
		if name, ok := phaseNames[Key{Scenario: phase.Scenario, Phase: phase.Phase}]; ok {
			fmt.Fprintf(&b, "%s:\n\n", name)
		}
		b.WriteString(r.Summary.PhaseTable(phase).Markdown())
		if sections[phase.Scenario] != "" {
			sections[phase.Scenario] += "\n"
		}
		sections[phase.Scenario] += b.String()
	}
	return sections
}

// charts shows the pictures of what was measured.
func (r *Results) charts() string {
	var shown []string
	for _, p := range pictures {
		if len(r.Summary.Servers(Key{Scenario: p.scenario, Phase: p.phase})) > 0 {
			shown = append(shown, fmt.Sprintf("![%s, %s](performance/%s)\n", p.title, p.unit, p.file))
		}
	}
	return strings.Join(shown, "\n")
}

var phaseNames = map[Key]string{
	{Scenario: "fanout", Phase: "paced"}: "25 messages/s",
	{Scenario: "fanout", Phase: "full"}:  "Full speed, 32 messages under way",
	{Scenario: "fanout", Phase: "one"}:   "Full speed, one message under way",
	{Scenario: "rooms", Phase: "1k"}:     "1,000 messages/s, 9,000 deliveries/s",
	{Scenario: "rooms", Phase: "4k"}:     "4,000 messages/s, 36,000 deliveries/s",
	{Scenario: "rooms", Phase: "full"}:   "Full speed, one message under way a speaker",
	{Scenario: "echo", Phase: "paced"}:   "2,000 events/s",
	{Scenario: "echo", Phase: "full"}:    "Full speed, one ack under way a client",

	{Scenario: "far", Phase: "connect"}: "Connects, eight at once",
	{Scenario: "far", Phase: "paced"}:   "Acks, 500 events/s",

	{Scenario: "post", Phase: "full"}: "Full speed, one request under way a connection",

	{Scenario: "nodeserver", Phase: "paced"}: "2,000 events/s",
	{Scenario: "nodeserver", Phase: "full"}:  "Full speed, one ack under way a client",
}

func (r *Results) machine() string {
	m := r.Machine
	text := fmt.Sprintf("%s, %d cores, %s of memory, Linux %s; Go %s, Node.js %s", m.CPU, m.Cores, m.Memory, m.Kernel,
		m.Go, m.Node)
	if m.Redis != "" {
		text += ", Redis " + m.Redis
	}
	return fmt.Sprintf("%s. Measured on %s, %d rounds.\n", text, r.Time.Format("2006-01-02"), r.Rounds)
}
