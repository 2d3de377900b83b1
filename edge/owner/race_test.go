//go:build race

package owner

// raceEnabled: the model has one goroutine, and is 40 times as slow under the race detector.
const raceEnabled = true
