package config

import (
	"strings"

	"github.com/agext/levenshtein"
)

// Fault is one thing that is wrong in a configuration.
type Fault struct {
	Where   string // "partyline.yaml:7: engine.ping_interval", "PARTYLINE_LISTEN" or "--listen"; "" if Problem says it
	Problem string // what is wrong and what to do about it; never a secret
}

// String is the line that an operator reads.
func (f Fault) String() string {
	if f.Where == "" {
		return f.Problem
	}
	return f.Where + ": " + f.Problem
}

// Faults is the error of Load: everything that is wrong, not only the first thing. A program that gets it exits with
// status 2.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// nearest returns the candidate that name was probably meant to be, or "". What stands behind the last dot may be
// enough ("ping_interval"), and dashes count as underscores.
func nearest(name string, candidates []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	distance := func(a, b string) int { return levenshtein.Distance(a, b, nil) }
	most := max(1, len(name)/3) // of wrong letters; more is another word
	best, bestScore := "", 2*most+2
	for _, candidate := range candidates {
		whole := strings.ToLower(candidate)
		last := whole[strings.LastIndexByte(whole, '.')+1:]
		// Of two that are equally far away, the one whose whole name is near wins.
		if score := min(2*distance(name, whole), 2*distance(name, last)+1); score < bestScore {
			best, bestScore = candidate, score
		}
	}
	return best
}

// didYouMean is the end of a sentence about an unknown name.
func didYouMean(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}
