package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/kds"
	"github.com/poclog/poclog/verify/profile"
)

// AMD's service is asked too often by others: the command says that it waits, and goes on.
func TestAThrottledKDSIsWaitedForAndSaidSo(t *testing.T) {
	maker := amd.NewMaker("kds command test", "Milan", time.Now().AddDate(-1, 0, 0))
	cpu := maker.NewChip("host", [8]byte{})
	server := kds.New(time.Now().AddDate(0, -1, 0), maker)
	server.List("Milan", cpu)
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			kds.Throttle(1)(w, r)
			return
		}
		server.ServeHTTP(w, r)
	}))
	defer srv.Close()
	policy := profile.DefaultPolicy(true)
	policy.Realm = poclog.Lab
	policy.Roots = []poclog.Root{{Use: poclog.RootAMDARK, SHA256: poclog.Sum(maker.Root()), Name: "lab"}}
	appraisal, err := policy.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"report.bin": cpu.Report(amd.Guest{}, nil), "appraisal.json": appraisal} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program(t, "poclog"), "import", "snp", "report.bin", "--kds="+srv.URL, "--cache-dir", "cache", "--appraisal", "appraisal.json", "-o", "vm.bundle.json")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "carried  tee.signature") {
		t.Errorf("%v: %s%s", err, out, stderr.Bytes())
	}
	if want := strings.TrimPrefix(srv.URL, "http://") + " asks to be asked later: waiting 1s\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", stderr.String(), want)
	}
}
