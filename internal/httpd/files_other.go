//go:build !unix

package httpd

import "math"

// descriptors is how many connections the process can have open beside its own files.
func descriptors() int { return math.MaxInt }
