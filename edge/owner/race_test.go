//go:build race

package owner

// raceEnabled: the model has one goroutine, and takes 40 times as long under the race detector.
const raceEnabled = true
