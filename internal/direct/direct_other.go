//go:build !unix

package direct

import "errors"

const possible = false

// Read is not called: Conn says nil.
func Read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

// Write is not called: Conn says nil.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
