package main

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// yieldToAll makes the process run only while no other one of its session wants the processor. The lowest priority is
// not enough: Linux lets a thread go on for some milliseconds, whatever its priority. It sets the policy of one thread
// only, and a program that is executed has that of its thread: so the process starts again.
func yieldToAll() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if policy, err := unix.SchedGetAttr(0, 0); err != nil || policy.Policy == unix.SCHED_IDLE {
		return err
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return err
	}
	if policy, err := unix.SchedGetAttr(0, 0); err != nil || policy.Policy != unix.SCHED_IDLE { // it would start again for ever
		return errors.Join(err, errors.New("it was set without effect"))
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, os.Environ())
}
