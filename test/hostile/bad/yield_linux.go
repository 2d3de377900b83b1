package main

import (
	"errors"
	"fmt"
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
		return wrap(err)
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_IDLE}, 0); err != nil {
		return wrap(err)
	}
	if policy, err := unix.SchedGetAttr(0, 0); err != nil || policy.Policy != unix.SCHED_IDLE { // it would start again for ever
		return wrap(errors.Join(err, errors.New("it is set without effect")))
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, os.Environ())
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the policy SCHED_IDLE, without which bad clients take the processors of good ones: %w", err)
}
