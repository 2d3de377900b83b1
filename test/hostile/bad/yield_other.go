//go:build !linux

package main

// yieldToAll does nothing: where the system is not Linux, bad clients take their share of the processors.
func yieldToAll() error { return nil }
