//go:build !unix

package listen

import "math"

// mostConnections returns how many connections the limit of open files allows. This system has none.
func mostConnections() int { return math.MaxInt32 }
