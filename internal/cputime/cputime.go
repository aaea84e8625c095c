// Package cputime tells benches what processor time this process has used: other work on the machine
// does not change it as it changes the time on the wall.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Used is the processor time that this process has used so far, in its own code and in the system's.
func Used(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
