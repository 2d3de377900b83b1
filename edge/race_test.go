//go:build race

package edge

// raceEnabled: under the race detector sync.Pool drops what it holds at random, so that encoding/json allocates.
const raceEnabled = true
