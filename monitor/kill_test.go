package monitor_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
)

// Variables that make a copy of the test binary a monitor: its folder, and its clock in Unix
// seconds.
const (
	folderVar = "POCLOG_TEST_MONITOR"
	clockVar  = "POCLOG_TEST_CLOCK"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(folderVar); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killBatch is a little more than a bundle, so that there are many batches.
const killBatch = 257

func child(dir string) error {
	seconds, err := strconv.ParseInt(os.Getenv(clockVar), 10, 64)
	if err != nil {
		return err
	}
	monitor.SetBatchRows(killBatch)
	m, err := monitor.Open(dir, monitor.Config{Clock: func() time.Time { return time.Unix(seconds, 0) }})
	if err != nil {
		return err
	}
	out, err := m.Run(context.Background(), monitor.Options{Once: true})
	if err != nil {
		return err
	}
	for origin, trouble := range out.Trouble {
		return fmt.Errorf("%s: %w", origin, trouble)
	}
	return m.Close()
}

// clone has a copy of a VM's TPM answer for TEEs on another chip of its kind, at the end of the
// last hour.
func (f *fleet) clone(v *fleetVM) {
	f.tick--
	defer func() { f.tick++ }()
	for _, h := range f.hosts {
		if h.kind == v.host.kind && h != v.host && h.quiet <= f.tick && v.host.quiet <= f.tick {
			twin := *v
			twin.host, twin.template = h, nil
			f.prove(v)
			f.prove(&twin)
			return
		}
	}
}

// dump is a digest of all that a monitor has on record.
func dump(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "monitor.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var next int64
	if err := db.QueryRow("SELECT next FROM log WHERE number = 1").Scan(&next); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "records", "1.rows"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(h, f, next*512); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"SELECT origin || next || hex(checkpoint) || looked || roots FROM log",
		"SELECT log || ' ' || size || ' ' || time || hex(signed) FROM covering ORDER BY log, size",
		"SELECT log || ' ' || id || ' ' || text FROM term ORDER BY log, id",
		"SELECT log_a || ' ' || a || ' ' || log_b || ' ' || b || ' ' || tries || ' ' || due FROM pair ORDER BY log_a, a, log_b, b",
		"SELECT body FROM alert ORDER BY seq",
	} {
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(h, s)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Killed at any moment and started again, a monitor ends with what one that nobody killed has: the
// same records, pairs and alerts, in the same order.
func TestKilledMonitorsLoseNothingAndRepeatNothing(t *testing.T) {
	kills := 4
	if s := os.Getenv("POCLOG_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(11, 24, 60, origin)
	for h := range 120 {
		f.hour(20)
		if h%30 == 29 {
			f.clone(f.vms[f.rng.IntN(len(f.vms))])
		}
	}
	f.end()
	f.serve(t)
	clock := at(f.tick).Add(time.Minute)
	start := func(dir string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), folderVar+"="+dir, clockVar+"="+strconv.FormatInt(clock.Unix(), 10))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	folder := func() string {
		dir := filepath.Join(t.TempDir(), "monitor")
		if err := monitor.Init(dir); err != nil {
			t.Fatal(err)
		}
		m := open(t, dir, monitor.Config{})
		if _, err := m.AddLog(t.Context(), f.logs[0].url, testlog.PolicyText(origin)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	whole := folder()
	begun := time.Now()
	if err := start(whole).Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	m := open(t, whole, monitor.Config{})
	found := alertsOf(t, m, monitor.AlertFilter{Severity: "alert"}) // no evidence is judged again: nobody is implicated
	if len(found) < 4 || nextOf(t, m, origin) != uint64(len(f.logs[0].entries)) {
		t.Fatalf("%d alerts in %d entries: the test wants more to lose", len(found), nextOf(t, m, origin))
	}
	want := dump(t, whole)
	dir, died := folder(), 0
	for begun := time.Now(); died < kills && time.Since(begun) < 10*time.Minute; {
		cmd := start(dir)
		time.Sleep(time.Duration(rand.Int64N(int64(took)))) // any moment will do
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			died++
			continue
		}
		// It was done before it was killed: another folder.
		if got := dump(t, dir); got != want {
			t.Fatalf("after %d kills the records are others", died)
		}
		dir = folder()
	}
	if err := start(dir).Wait(); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, dir); got != want {
		t.Errorf("after %d kills the records are others", died)
	}
	t.Logf("%d entries, %d contradictions, %d kills within %s", len(f.logs[0].entries), len(found), died, took)
}
