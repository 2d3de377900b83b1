//go:build !unix

package direct

import "errors"

const possible = false

// Read is never called: Conn returns nil.
func Read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

// Write is never called: Conn returns nil.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
