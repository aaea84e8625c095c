//go:build !unix

package client

import "sync"

var processLock sync.Mutex

// lockFile keeps the goroutines of this process apart; where there is no flock, two processes must not share a store.
func lockFile(string) (unlock func(), err error) {
	processLock.Lock()
	return processLock.Unlock, nil
}
