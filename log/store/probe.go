package store

import (
	"fmt"
	"sync"
	"time"
)

// probePatience is how long a probe is waited for. A store that answers later cannot be written to.
const probePatience = 2 * time.Second

// A Probe asks whether a store can be written to, once at a time.
type Probe struct {
	What   string        // what is probed, such as "the disk"
	Every  time.Duration // how long a result holds
	Grace  time.Duration // how much longer a good one holds while the next try runs: a busy store answers late
	Try    func() error
	mu     sync.Mutex // guards what follows, and is not held while a store is waited for
	at     time.Time  // of the last result
	err    error
	trying chan struct{} // closed when the try that runs has ended; nil: none runs
}

// Check tries, or repeats a result that is not too old. A try that takes too long is an error.
func (p *Probe) Check() error {
	p.mu.Lock()
	if !p.at.IsZero() && time.Since(p.at) < p.Every {
		defer p.mu.Unlock()
		return p.err
	}
	if p.trying == nil {
		p.trying = make(chan struct{})
		go p.run(p.trying)
	}
	running, good := p.trying, !p.at.IsZero() && p.err == nil && time.Since(p.at) < p.Every+p.Grace
	p.mu.Unlock()
	if good {
		return nil
	}
	select {
	case <-running:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-time.After(probePatience):
		return fmt.Errorf("%s cannot be written to: no answer within %s", p.What, probePatience)
	}
}

func (p *Probe) run(ended chan struct{}) {
	err := p.Try()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.err, p.trying = time.Now(), err, nil
	close(ended)
}
