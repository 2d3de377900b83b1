//go:build !unix

package engine

// directly says whether connections can be written to without waiting. Here they cannot: a goroutine does all writing.
const directly = false

func (w *directWriter) write(uintptr) bool { return true }
