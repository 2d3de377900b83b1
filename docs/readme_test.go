package docs_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// bar is a row of the bars in performance.md: what is compared, with what, and the ratio that counts.
var bar = regexp.MustCompile(`(?m)^\| ([^|]+) \| (\w+) \| [≤≥] [0-9.]+ \| \w+ ([0-9.]+) \|`)

// README names every scenario that costs over a quarter more CPU than the reference server, with its factor.
func TestReadmeSaysWhatCostsMore(t *testing.T) {
	readme, rows := read(t, "../README.md"), bar.FindAllStringSubmatch(read(t, "performance.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("performance.md has %d bars that this test can read", len(rows))
	}
	for _, row := range rows {
		ratio, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(row[1], "CPU") || row[2] != "socketio" || ratio < 1.25 {
			continue
		}
		factor := strconv.FormatFloat(ratio, 'f', 1, 64)
		if factor = strings.TrimSuffix(factor, ".0") + " ×"; !strings.Contains(readme, factor) {
			t.Errorf("%s costs %s; README does not say so", row[1], factor)
		}
	}
}
