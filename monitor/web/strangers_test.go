package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/rule"
)

// askAndNotRead sends a request over a connection that takes a few kilobytes and no more.
func (s *site) askAndNotRead(path string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// Who asks and does not read the answer has no place that others need.
func TestSlowReadersKeepNoPlaces(t *testing.T) {
	s := newSite(t, nil)
	for range 1000 {
		s.records = append(s.records, querytest.Proof(1, 1, 1, func(r *monitor.Record) { r.TCB = strings.Repeat("a", 8000) }))
	}
	s.scanned = make(chan struct{}, 1000)
	path := "/v1/identities/" + string(querytest.PPID(1)) + "?limit=1000"
	for range 2 {
		s.askAndNotRead(path)
		<-s.scanned
	}
	// The places are given back a moment after the records were read.
	for range 1000 {
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Error("two readers that read nothing keep all places")
}

// Evidence is not read into memory for each who asks for it.
func TestEvidenceIsStreamed(t *testing.T) {
	const size, readers = 8 << 20, 40
	s := newSite(t, nil)
	if err := os.WriteFile(filepath.Join(s.dir, "contradictions", "a.json"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: "a"}, File: "contradictions/a.json"})
	path := "/v1/alerts/" + monitor.AlertID("boot-forked", "a", nil) + "/file"
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range readers {
		c := s.askAndNotRead(path)
		if status, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil || !strings.Contains(status, "200") {
			t.Fatalf("%q, %v", status, err)
		}
	}
	if took := int64(heap()) - int64(before); took > readers*size/4 {
		t.Errorf("%d readers of %d MiB take %d MiB of memory", readers, size>>20, took>>20)
	}
}

// An entity tag is of what everybody may know: a hit of the watch list leaves it alone.
func TestEntityTagsTellNothingPrivate(t *testing.T) {
	s := newSite(t, nil)
	tag := func() string { return s.get("/v1/identities/"+string(querytest.PPID(1)), 200, nil).Get("ETag") }
	before := tag()
	for i, severity := range []rule.Severity{rule.Information, rule.Alert, rule.Contradiction} {
		s.raise(monitor.Alert{Finding: rule.Finding{Rule: "watched", Severity: severity, Subject: poclog.Identity(fmt.Sprint(i))}})
	}
	if err := s.Silence(t.Context(), monitor.AlertID("watched", "0", nil), "known"); err != nil {
		t.Fatal(err)
	}
	if tag() != before {
		t.Error("a hit of the watch list changes the entity tag")
	}
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: "a"}})
	if tag() == before {
		t.Error("a public alert does not change the entity tag")
	}
}

// hosts are chips of one maker, each with a proof.
func hosts(s *site, maker *chip.Maker, n int) (quotes [][]byte) {
	for i := range n {
		host := maker.NewPlatform(fmt.Sprint("host ", i), nil)
		s.records = append(s.records, querytest.Proof(0, i+1, float64(i), func(r *monitor.Record) { r.Chip, r.Realm = idOf(host), poclog.Lab }))
		quotes = append(quotes, host.Quote(chip.TD{}))
	}
	return quotes
}

// A log that does not answer keeps those waiting who asked about it, and nobody else.
func TestALogThatDoesNotAnswerHoldsUpNobody(t *testing.T) {
	asked, answer := make(chan uint64), make(chan struct{})
	s, maker, _ := newQuoted(t, func(c *web.Config) {
		c.Receipts = func(_ context.Context, _ string, index uint64) ([]byte, error) {
			asked <- index
			<-answer
			return fmt.Appendf(nil, "receipt %d", index), nil
		}
	})
	quotes := hosts(s, maker, 6)
	done := make(chan web.QuoteAnswer)
	for _, q := range quotes {
		go func() {
			var a web.QuoteAnswer
			s.postTo("/v1/check_quote", fmt.Sprintf(`{"quote":"%x"}`, q), "application/json", 200, &a)
			done <- a
		}()
		<-asked
	}
	s.get("/v1/identities/"+string(querytest.PPID(1)), 200, nil)
	close(answer)
	for range quotes {
		if a := <-done; len(a.Receipts) != 1 || a.NoReceipts != "" {
			t.Errorf("%+v", a)
		}
	}
}

// A log is asked once for a receipt that many want at once, and not again for a while; where it
// gives none, for a shorter while.
func TestLogsAreAskedOnceForAReceipt(t *testing.T) {
	var asked atomic.Int32
	clock := querytest.Start
	down := true
	s, maker, _ := newQuoted(t, func(c *web.Config) {
		c.Clock = func() time.Time { return clock }
		c.Receipts = func(_ context.Context, _ string, index uint64) ([]byte, error) {
			asked.Add(1)
			if down {
				return nil, errors.New("the log is down")
			}
			return fmt.Appendf(nil, "receipt %d", index), nil
		}
	})
	quote := hosts(s, maker, 1)[0]
	for i, step := range []struct {
		wait  time.Duration
		down  bool
		asked int32 // in all
		got   int
	}{
		{0, true, 1, 0}, {9 * time.Second, false, 1, 0}, {2 * time.Second, false, 2, 1}, {59 * time.Second, true, 2, 1}, {2 * time.Second, true, 3, 0},
	} {
		clock, down = clock.Add(step.wait), step.down
		var a web.QuoteAnswer
		s.ask(quote, 200, &a)
		if len(a.Receipts) != step.got || (a.NoReceipts == "") != (step.got == 1) || asked.Load() != step.asked {
			t.Errorf("step %d: asked %d times: %+v", i, asked.Load(), a)
		}
	}
}

// records that say when they were read to their end.
func (s *site) telling(records iter.Seq2[*monitor.Record, error]) iter.Seq2[*monitor.Record, error] {
	if s.scanned == nil {
		return records
	}
	return func(yield func(*monitor.Record, error) bool) {
		records(yield)
		s.scanned <- struct{}{}
	}
}
