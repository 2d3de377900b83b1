//go:build race

package badnats

const raceEnabled = true
