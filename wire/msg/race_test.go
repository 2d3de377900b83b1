//go:build race

package msg

// raceEnabled: under the race detector sync.Pool drops items at random, so that encoding/json allocates.
const raceEnabled = true
