//go:build !unix

package log

import "errors"

func freeSpace(string) (uint64, bool) { return 0, false }

func lock(string) (func() error, error) {
	return nil, errors.New("serving a log needs an operating system with file locks")
}
