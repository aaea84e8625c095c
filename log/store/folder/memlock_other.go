//go:build !linux

package folder

// lockInMemory does nothing here: a disk that goes read-only between two looks at it ends the
// process.
func lockInMemory(string) (unlock func() error, err error) { return func() error { return nil }, nil }
