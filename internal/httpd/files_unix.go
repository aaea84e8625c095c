//go:build unix

package httpd

import (
	"math"
	"syscall"
)

// descriptors is how many connections the process can have open beside its own files.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt
	}
	return int(min(uint64(l.Cur), math.MaxInt32)) - ownFiles
}
