package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHTTP asks a URL and wants a status: `http 200 URL [FILE]`, which posts a file. The answer is
// in the file http.out. URLs of `poclog monitor serve` begin with $MONITOR, which `http serve`
// starts.
func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "serve" {
		serveMonitor(ts, args[1:])
		return
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	resp, err := http.Get(args[1])
	if len(args) > 2 {
		resp, err = http.Post(args[1], "application/json", strings.NewReader(ts.ReadFile(args[2])))
	}
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("http.out"), body, 0o644))
	if resp.StatusCode != want {
		ts.Fatalf("%s: status %d, want %d: %s", args[1], resp.StatusCode, want, body)
	}
}

// serveMonitor starts `poclog monitor serve` until the script ends, and sets MONITOR to its
// address.
func serveMonitor(ts *testscript.TestScript, args []string) {
	cmd := exec.Command("poclog", append([]string{"monitor", "serve", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Path, cmd.Dir = lookPath(ts), ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "POCLOG_MONITOR="+ts.MkAbs(ts.Getenv("POCLOG_MONITOR")))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended, which Wait reports
		if err := cmd.Wait(); err != nil {
			ts.Logf("the service ended: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv("MONITOR", strings.TrimSpace(line))
}

// cmdHook starts a server for webhooks until the script ends, and sets HOOK to its address: it
// fails the first N requests with 500, and appends what it takes to hook.out: `hook N`.
func cmdHook(ts *testscript.TestScript, _ bool, args []string) {
	fail, err := strconv.Atoi(args[0])
	ts.Check(err)
	path := ts.MkAbs("hook.out")
	ts.Check(os.WriteFile(path, nil, 0o644))
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if int(n.Add(1)) <= fail {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		body, err := io.ReadAll(r.Body)
		f, e := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil || e != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer f.Close()
		fmt.Fprintf(f, "%s %s %s\n", r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Signature"), body)
	}))
	ts.Defer(srv.Close)
	ts.Setenv("HOOK", srv.URL)
}

func TestTablesFitTheirTerminal(t *testing.T) {
	tb := &table{columns: []column{{"KEPT", 0}, {"SECOND", 2}, {"FIRST", 1}, {"WIDE", 0}}}
	tb.add("aaaa", "bbbbbbbbbb", "cccccccccc", "ddddddddddddddddddddddddddddddé")
	for width, want := range map[int]string{
		0:   "KEPT  SECOND      FIRST       WIDE\naaaa  bbbbbbbbbb  cccccccccc  ddddddddddddddddddddddddddddddé\n",
		100: "KEPT  SECOND      FIRST       WIDE\naaaa  bbbbbbbbbb  cccccccccc  ddddddddddddddddddddddddddddddé\n",
		50:  "KEPT  SECOND      WIDE\naaaa  bbbbbbbbbb  ddddddddddddddddddddddddddddddé\n",
		40:  "KEPT  WIDE\naaaa  ddddddddddddddddddddddddddddddé\n",
		20:  "KEPT  WIDE\naaaa  ddddddddddddd…\n",
	} {
		var b bytes.Buffer
		if err := tb.print(&b, width); err != nil || b.String() != want {
			t.Errorf("width %d: %q, %v: want %q", width, b.String(), err, want)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if width > 0 && len([]rune(line)) > width {
				t.Errorf("width %d: %q", width, line)
			}
		}
	}
}

// What does not fit is broken behind an item of a list, and shortened behind a word.
func TestCellsBreakBetweenWords(t *testing.T) {
	tb := &table{columns: []column{{"ID", 0}, {"PLACES", 0}}}
	tb.add("a", "gce/north1-a, gce/south1-a, azure/eastus2")
	tb.add("b", "unproven hints")
	for width, want := range map[int]string{
		30: "ID  PLACES\na   gce/north1-a, gce/south1-a,\n    azure/eastus2\nb   unproven hints\n",
		13: "ID  PLACES\na   gce/north…\n    gce/south…\n    azure/eas…\nb   unproven…\n",
	} {
		var b bytes.Buffer
		if err := tb.print(&b, width+1); err != nil || b.String() != want {
			t.Errorf("width %d: %q, %v: want %q", width, b.String(), err, want)
		}
	}
}

func TestMomentsAndSpansAreReadAsPeopleWriteThem(t *testing.T) {
	now := time.Date(2026, 11, 26, 9, 0, 0, 5, time.UTC)
	for text, want := range map[string]string{
		"2026-11-01T00:00:00Z": "2026-11-01T00:00:00Z", "2026-11-01T02:00:00+02:00": "2026-11-01T00:00:00Z", "2026-11-01": "2026-11-01T00:00:00Z",
		"24h": "2026-11-25T09:00:00Z", "7d": "2026-11-19T09:00:00Z", "0s": "2026-11-26T09:00:00Z", "-1h": "", "yesterday": "", "d": "", "-3d": "", "99999999d": "",
	} {
		got, err := parseMoment("since", text, now)
		if want == "" && err == nil || want != "" && (err != nil || got.Format(time.RFC3339) != want) {
			t.Errorf("%q: %s, %v: want %q", text, got, err, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 25 * time.Hour: "1d1h", 11 * time.Second: "11s", 15 * time.Minute: "15m", 0: "0s"} {
		if got := days(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
