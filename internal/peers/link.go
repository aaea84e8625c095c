package peers

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A Way is what becomes of the bytes on a link.
type Way int

// Ways of a link.
const (
	Whole  Way = iota // they pass
	Silent            // they wait, in either direction: both ends believe that the connection lives
	Half              // the same, but the server was told that its connections ended
)

// A Link is a way to a server over TCP that can be cut.
type Link struct {
	Address string // where to connect
	to      string

	mu     sync.Mutex // guards what follows
	heal   *sync.Cond
	way    Way
	ended  bool
	client map[net.Conn]net.Conn // to the server's side of it
}

// NewLink makes a link to a server's address. It ends with the test.
func NewLink(t testing.TB, to string) *Link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	k := &Link{Address: l.Addr().String(), to: to, client: make(map[net.Conn]net.Conn)}
	k.heal = sync.NewCond(&k.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { k.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		k.mu.Lock()
		k.ended = true
		for c, s := range k.client {
			_, _ = c.Close(), s.Close()
		}
		k.heal.Broadcast()
		k.mu.Unlock()
		running.Wait()
	})
	return k
}

// Set cuts a link, or makes it whole. What waited passes then.
func (k *Link) Set(way Way) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.way = way; way == Half {
		for _, s := range k.client {
			_ = s.Close()
		}
	}
	k.heal.Broadcast()
}

// wait returns once bytes may pass; false: never.
func (k *Link) wait() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.way != Whole && !k.ended {
		k.heal.Wait()
	}
	return !k.ended
}

// carry connects a client, once the link is whole.
func (k *Link) carry(c net.Conn) {
	defer c.Close()
	if !k.wait() {
		return
	}
	s, err := net.DialTimeout("tcp", k.to, time.Second)
	if err != nil {
		return
	}
	defer s.Close()
	k.mu.Lock()
	k.client[c] = s
	k.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { k.pump(c, s) })
	both.Go(func() { k.pump(s, c) })
	both.Wait()
	k.mu.Lock()
	delete(k.client, c)
	k.mu.Unlock()
}

// pump passes bytes on, and the end of them.
func (k *Link) pump(to, from net.Conn) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if !k.wait() {
			return
		}
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}
