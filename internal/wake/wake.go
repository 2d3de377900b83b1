// Package wake lets goroutines wake another one without waiting for it.
package wake

// Flag is raised until the goroutine that receives from it has done so. Raised again meanwhile, it counts once.
type Flag chan struct{}

// New returns a Flag that is not raised.
func New() Flag { return make(Flag, 1) }

// Raise raises the flag. It never blocks.
func (f Flag) Raise() {
	select {
	case f <- struct{}{}:
	default:
	}
}
