package log

import (
	"net"
	"sync"
)

// LimitConnections returns a listener of which at most n connections are open at a time; further ones wait to be accepted. A log needs it: where
// a process has no file descriptors left Tessera stops it, and connections take them.
func LimitConnections(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, open: make(chan struct{}, max(1, n)), closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	open   chan struct{} // a token for each open connection
	once   sync.Once
	closed chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.open <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{Conn: c, done: func() { <-l.open }}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.done)
	return err
}
