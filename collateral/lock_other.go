//go:build !unix

package collateral

// lockFile does nothing: there, one process uses a folder.
func lockFile(string) (unlock func() error, err error) { return func() error { return nil }, nil }
