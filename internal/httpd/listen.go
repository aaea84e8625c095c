package httpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// connections are those that are open. Where there is no room for a new one, one that waits for a
// request is closed: of its own address if that has more than its share, or else of the address
// that has most.
type connections struct {
	mu   sync.Mutex // guards what follows, and what says so of each conn
	max  int
	open map[*conn]struct{}
	held map[string]int

	cut, refused func() // for the metrics
}

func newConnections(n int) *connections {
	return &connections{max: n, open: make(map[*conn]struct{}), held: make(map[string]int), cut: func() {}, refused: func() {}}
}

// limit sets how many are open at a time.
func (s *connections) limit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = n
}

// A conn is an accepted connection.
type conn struct {
	net.Conn
	set   *connections
	from  string    // its network; "" is a trusted proxy, whose connections are many clients'
	idle  time.Time // since when; guarded by the set
	works int       // requests that are being answered on it; guarded by the set
}

func (c *conn) Close() error {
	c.set.mu.Lock()
	c.set.drop(c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}

// drop forgets a connection. The caller holds mu.
func (s *connections) drop(c *conn) {
	if _, ok := s.open[c]; !ok {
		return
	}
	delete(s.open, c)
	if s.held[c.from]--; s.held[c.from] <= 0 {
		delete(s.held, c.from)
	}
}

// admit makes room for a connection, or refuses it.
func (s *connections) admit(inner net.Conn, from string) (*conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var victim *conn
	switch free := s.max - len(s.open); {
	case from != "" && s.held[from]+1 > free && s.held[from] > 0:
		victim = s.idleOf(func(c *conn) bool { return c.from == from })
	case free <= 0:
		victim = s.mostIdle()
	default:
		return s.add(inner, from), true
	}
	if victim == nil {
		s.refused()
		return nil, false
	}
	s.cut()
	s.drop(victim)
	_ = victim.Conn.Close() // it goes in any case
	return s.add(inner, from), true
}

func (s *connections) add(inner net.Conn, from string) *conn {
	c := &conn{Conn: inner, set: s, from: from, idle: time.Now()}
	s.open[c] = struct{}{}
	s.held[from]++
	return c
}

// idleOf returns the connection that has been idle longest of some, or nil.
func (s *connections) idleOf(of func(*conn) bool) *conn {
	var longest *conn
	for c := range s.open {
		if c.works == 0 && of(c) && (longest == nil || c.idle.Before(longest.idle)) {
			longest = c
		}
	}
	return longest
}

// mostIdle returns an idle connection of the address that has most connections among those that
// have idle ones.
func (s *connections) mostIdle() *conn {
	most := 0
	for c := range s.open {
		if c.works == 0 && c.from != "" {
			most = max(most, s.held[c.from])
		}
	}
	if most > 0 {
		return s.idleOf(func(c *conn) bool { return c.from != "" && s.held[c.from] == most })
	}
	return s.idleOf(func(*conn) bool { return true })
}

type connKey struct{}

// busy notes that a request is being answered on the context's connection, until the returned
// function is called.
func (s *connections) busy(ctx context.Context) (done func()) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return func() {}
	}
	work := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.works += n
		c.idle = time.Now()
	}
	work(1)
	return func() { work(-1) }
}

func (s *connections) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// A listener accepts what connections admit.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := c.RemoteAddr().String()
		if ap, err := netip.ParseAddrPort(from); err == nil {
			if from = network(ap.Addr()); l.server.proxies.trusts(ap.Addr()) {
				from = ""
			}
		}
		if admitted, ok := l.server.conns.admit(c, from); ok {
			return admitted, nil
		}
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			l.server.cfg.Logger.Debug("close a connection that was refused", "error", err)
		}
	}
}
