package httpd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// A served server echoes bodies, reads, and waits.
type served struct {
	*Server
	addr string
	hold chan struct{} // /hold answers when it is closed
	in   chan string   // what /hold and /wait came to
}

func serve(t *testing.T, cfg Config) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{Server: New(cfg), addr: l.Addr().String(), hold: make(chan struct{}), in: make(chan string, 1000)}
	mux := http.NewServeMux()
	mux.Handle("POST /echo", s.Write(func(w http.ResponseWriter, r *http.Request) error {
		b, err := s.ReadBody(w, r, 1<<20)
		if err == nil {
			_, _ = w.Write(b)
		}
		return err
	}))
	hold := func(w http.ResponseWriter, r *http.Request) error { s.in <- "hold"; <-s.hold; return nil }
	mux.Handle("POST /hold", s.Write(hold))
	mux.Handle("GET /hold", s.Read(hold))
	mux.Handle("POST /wait", s.Write(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := s.ReadBody(w, r, 1<<20); err != nil {
			return err
		}
		if err := Wait(r.Context()); err != nil {
			return err
		}
		return hold(w, r)
	}))
	mux.Handle("GET /read", s.Read(func(w http.ResponseWriter, r *http.Request) error { fmt.Fprint(w, "ok"); return nil }))
	mux.Handle("GET /large", s.Read(func(w http.ResponseWriter, r *http.Request) error {
		for range 1000 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		return nil
	}))
	mux.Handle("GET /broken", s.Read(func(w http.ResponseWriter, r *http.Request) error { return errors.New("the password is 1234") }))
	mux.Handle("GET /metrics", s.serveMetrics())
	mux.Handle("/", s.notFound())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, mux) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// from is a client with a source address of its own.
func from(address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext}, Timeout: time.Minute}
}

func (s *served) ask(t *testing.T, c *http.Client, method, path string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

func (s *served) counted(t *testing.T, line string) {
	t.Helper()
	if _, text := s.ask(t, http.DefaultClient, "GET", "/metrics", nil); !strings.Contains(text, line+"\n") {
		t.Errorf("no %q in the metrics", line)
	}
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	s := serve(t, Config{Connections: 20})
	var idle []net.Conn
	for range 100 {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	for i := range 15 {
		honest := from(fmt.Sprintf("127.0.0.%d", 10+i))
		defer honest.CloseIdleConnections()
		if got, body := s.ask(t, honest, "GET", "/read", nil); got != 200 || body != "ok" {
			t.Errorf("client %d beside %d idle connections: %d", i, len(idle), got)
		}
	}
	if n := s.conns.count(); n > 20 {
		t.Errorf("%d connections are open: want at most 20", n)
	}
}

func TestReadsKeepPlacesThatWritesCannotTake(t *testing.T) {
	s := serve(t, Config{Reads: 4, Writes: 4})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(s.hold)
	hold := func(address string, n int) {
		for range n {
			wg.Go(func() { s.ask(t, from(address), "POST", "/hold", nil) })
			<-s.in
		}
	}
	hold("127.0.0.2", 2)
	if got, body := s.ask(t, from("127.0.0.2"), "POST", "/echo", nil); got != 503 || !strings.Contains(body, "problem:busy") {
		t.Errorf("more than a half: %d %s", got, body)
	}
	if got, _ := s.ask(t, from("127.0.0.3"), "POST", "/echo", nil); got != 200 {
		t.Errorf("another's write: %d", got)
	}
	if got, _ := s.ask(t, from("127.0.0.2"), "GET", "/read", nil); got != 200 {
		t.Errorf("a read: %d", got)
	}
	s.counted(t, `poclog_limited_total{limit="write"} 1`)
}

func TestWaitingTakesNoPlaceOfThoseThatWork(t *testing.T) {
	s := serve(t, Config{Writes: 2, Waiting: 8, Memory: 4000})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(s.hold)
	for range 4 {
		wg.Go(func() { s.ask(t, from("127.0.0.2"), "POST", "/wait", bytes.NewReader(make([]byte, 500))) })
		<-s.in
	}
	if got, _ := s.ask(t, from("127.0.0.2"), "POST", "/echo", bytes.NewReader(make([]byte, 500))); got != 200 {
		t.Errorf("work while four wait: %d", got)
	}
	if got, _ := s.ask(t, from("127.0.0.2"), "POST", "/wait", nil); got != 503 {
		t.Errorf("a fifth of one address waits: %d", got)
	}
	s.counted(t, `poclog_limited_total{limit="waiting"} 1`)
	if s.memory.Used() != 0 {
		t.Errorf("those who wait hold %d bytes", s.memory.Used())
	}
}

// slowBody begins to post and sends little.
func (s *served) slowBody(t *testing.T, address string, send []byte) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n%s", send)
	return c
}

func TestSlowBodiesAreCutOffAndCharged(t *testing.T) {
	s := serve(t, Config{Rate: 1})
	c := s.slowBody(t, "127.0.0.2", []byte("slow"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("%v %v: want 408", resp, err)
	}
	if got, _ := s.ask(t, from("127.0.0.2"), "POST", "/echo", nil); got != http.StatusTooManyRequests {
		t.Errorf("the address of a slow body: %d", got)
	}
	if got, _ := s.ask(t, from("127.0.0.3"), "POST", "/echo", strings.NewReader("x")); got != 200 {
		t.Errorf("another: %d", got)
	}
	s.counted(t, `poclog_limited_total{limit="slow-body"} 1`)
}

// What a body says is what arrives, in whatever pieces, or it is refused.
func TestBodiesAreReadWhole(t *testing.T) {
	s := serve(t, Config{})
	for _, n := range []int{0, 1, maxChunk - 1, maxChunk, maxChunk + 1, 3 * maxChunk, 1 << 20} {
		want := bytes.Repeat([]byte("0123456789abcdef_"), n/17+1)[:n]
		for _, r := range []io.Reader{bytes.NewReader(want), iotest.HalfReader(bytes.NewReader(want))} {
			if got, body := s.ask(t, http.DefaultClient, "POST", "/echo", r); got != 200 || body != string(want) {
				t.Errorf("%d bytes: %d, %d bytes", n, got, len(body))
			}
		}
	}
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ncut")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("a body that is cut: %v %v", resp, err)
	}
}

func TestSlowReadersAreCutOff(t *testing.T) {
	s := serve(t, Config{LeastRate: 1 << 30})
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, text := s.ask(t, http.DefaultClient, "GET", "/metrics", nil); strings.Contains(text, `poclog_limited_total{limit="slow-reader"} 1`+"\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a reader that reads nothing is not cut off")
		}
	}
	if used := s.reads.Used(); used != 0 {
		t.Errorf("%d places are taken", used)
	}
}

func TestAnswersTakeMemoryWhileTheyAreWritten(t *testing.T) {
	s := serve(t, Config{Memory: 8 << 20})
	hold := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", s.Read(func(w http.ResponseWriter, r *http.Request) error {
		if err := Hold(r.Context(), 1<<20); err != nil {
			return err
		}
		<-hold
		return nil
	}))
	var wg sync.WaitGroup
	ask := func(peer string) (status func() int) {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/", nil)
		req.RemoteAddr = peer
		done := make(chan struct{})
		wg.Go(func() { mux.ServeHTTP(rec, req); close(done) })
		return func() int { <-done; return rec.Code }
	}
	for range 2 {
		ask("192.0.2.1:1")
	}
	for s.memory.Used() < 2<<20 {
		time.Sleep(time.Millisecond)
	}
	if got := ask("192.0.2.1:1")(); got != 503 {
		t.Errorf("over its share: %d", got)
	}
	other := ask("192.0.2.2:1")
	for s.memory.Used() < 3<<20 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	if got := other(); got != 200 {
		t.Errorf("another: %d", got)
	}
	wg.Wait()
	if s.memory.Used() != 0 {
		t.Errorf("%d bytes are held", s.memory.Used())
	}
}

func TestMemoryOfBodiesIsShared(t *testing.T) {
	s := serve(t, Config{Memory: 16 << 20, Copies: 4})
	for range 4 {
		s.slowBody(t, "127.0.0.2", make([]byte, 900_000))
	}
	deadline := time.Now().Add(time.Minute)
	for s.memory.Used() < 3<<20 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got, _ := s.ask(t, from("127.0.0.3"), "POST", "/echo", bytes.NewReader(make([]byte, 100_000))); got != 200 {
		t.Errorf("another's body beside slow ones: %d", got)
	}
	if used := s.memory.Used(); used > 4<<20 {
		t.Errorf("one address holds %d bytes of %d", used, 8<<20)
	}
	s.ask(t, from("127.0.0.2"), "POST", "/echo", bytes.NewReader(make([]byte, 1_000_000)))
	if _, text := s.ask(t, http.DefaultClient, "GET", "/metrics", nil); strings.Contains(text, `poclog_limited_total{limit="memory"} 0`) {
		t.Error("the limit is not counted")
	}
}

func TestFloodBehindAProxyIsItsOwnAddress(t *testing.T) {
	s := serve(t, Config{Rate: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	post := func(client string) int {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.addr+"/echo", strings.NewReader("x"))
		req.Header.Set("X-Forwarded-For", client)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	last := 0
	for range 10 {
		last = post("192.0.2.1")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the tenth of a flood: %d", last)
	}
	if got := post("192.0.2.2"); got != 200 {
		t.Errorf("another behind the same proxy: %d", got)
	}
	s.counted(t, `poclog_refusals_total{check="",kind="too-many"} 5`)
}

func TestRefusalsAreProblemDocuments(t *testing.T) {
	s := serve(t, Config{Refusal: func(err error) *Refusal { return nil }})
	for _, c := range []struct {
		method, path, body string
		status             int
		kind               string
	}{
		{"GET", "/nothing", "", 404, "not-found"},
		{"GET", "/broken", "", 500, "internal"},
		{"POST", "/echo", strings.Repeat("x", 1<<20+1), 413, "too-large"},
	} {
		got, body := s.ask(t, http.DefaultClient, c.method, c.path, strings.NewReader(c.body))
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || got != c.status || p.Status != c.status || !strings.HasSuffix(p.Type, ":problem:"+c.kind) || strings.Contains(body, "1234") {
			t.Errorf("%s %s: %d %s: want %d %s", c.method, c.path, got, body, c.status, c.kind)
		}
	}
}

func TestRunningRequestsFinishWhenTheServiceStops(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, in, hold := New(Config{}), make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done, answered := make(chan error, 1), make(chan int, 1)
	go func() {
		done <- s.Serve(ctx, l, s.Read(func(w http.ResponseWriter, r *http.Request) error { close(in); <-hold; return nil }))
	}()
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	<-in
	cancel()
	close(hold)
	if got := <-answered; got != 200 {
		t.Errorf("answered %d", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
