package log

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

func TestRateCountsNetworks(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.1:1234":                 "192.0.2.1",
		"[::ffff:192.0.2.1]:1":           "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:443":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:80":       "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":              "fe80::/64",
		"@":                              "@", // a Unix socket
		"":                               "",
		"proxy.example:80":               "proxy.example:80",
		"[2001:db8:1:3:3:4:5:6]:443":     "2001:db8:1:3::/64",
		"[2001:db8:1:2:3:4:5:6%x]:65535": "2001:db8:1:2::/64",
	} {
		if got := network(peer); got != want {
			t.Errorf("%s: %s, want %s", peer, got, want)
		}
	}
}

func TestBodiesInFlightShareOneMemory(t *testing.T) {
	pool := semaphore.NewWeighted(100)
	read := func(n int) (*meter, error) {
		m := &meter{r: bytes.NewReader(make([]byte, n)), pool: pool}
		_, err := io.ReadAll(m)
		return m, err
	}
	first, err := read(60)
	if err != nil {
		t.Fatal(err)
	}
	second, err := read(60)
	if !errors.Is(err, errMemory) {
		t.Errorf("over the limit: %v", err)
	}
	second.release()
	third, err := read(40)
	if err != nil {
		t.Errorf("after a refusal: %v", err)
	}
	first.release()
	third.release()
	if !pool.TryAcquire(100) {
		t.Error("memory is not given back")
	}
}

func TestFloodOfNamesDoesNotGrowWithoutEnd(t *testing.T) {
	s := &limiterSet{every: 1, burst: 1, m: newLimits(&Config{}).clients.m}
	now := time.Unix(0, 0)
	for i := range maxLimiters + 10 {
		s.take(now, string([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
		if len(s.m) > maxLimiters {
			t.Fatalf("%d limiters", len(s.m))
		}
	}
}

func TestBudgetIsTakenOfAllNamesOrOfNone(t *testing.T) {
	s := newLimits(&Config{Budget: 8}).ids
	now := time.Unix(0, 0)
	for range 2 {
		if got := s.take(now, "a", "b"); got != "" {
			t.Fatalf("%s has none left", got)
		}
	}
	for range 3 {
		if got := s.take(now, "c", "b"); got != "b" {
			t.Errorf("%q: want b", got)
		}
	}
	for range 2 {
		if got := s.take(now, "c"); got != "" {
			t.Error("c was taken with what b refused")
		}
	}
	if got := s.take(now.Add(time.Hour/8+time.Second), "a", "b"); got != "" {
		t.Errorf("%s has none left after its time", got)
	}
}

func TestFurtherConnectionsWait(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := LimitConnections(inner, 2)
	accepted := make(chan net.Conn)
	done := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- c
		}
	}()
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 2 {
		open = append(open, <-accepted)
	}
	select {
	case <-accepted:
		t.Error("a third connection was accepted")
	case <-time.After(100 * time.Millisecond):
	}
	open[0].Close()
	open[0].Close() // twice gives back one
	third := <-accepted
	select {
	case <-accepted:
		t.Error("closing twice made room for two")
	case <-time.After(50 * time.Millisecond):
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close, with all connections open: %v", err)
	}
	open[1].Close()
	third.Close()
}
