package main

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/testlog"
)

// Every command that asks somebody who does not answer says whom it waits for, and ends when it is
// interrupted, with status 3.
func TestCommandsThatWaitSaySoAndEnd(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	host := strings.TrimPrefix(silent.URL, "http://")
	dir := t.TempDir()
	unpack(t, dir, "receipts/audited", map[string]string{"receipt": "vm.tlog-proof", "policy": "vm.txt"})
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	origin := "log.test/2026"
	write("policy.txt", []byte("log "+testlog.LogKey(origin).VKey+" "+silent.URL+"\nquorum none\n"))
	var b poclog.Bundle
	b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
	write("b.json", marshalled(t, &b))
	if status := run([]string{"monitor", "init", "--dir", filepath.Join(dir, "mon")}); status != 0 {
		t.Fatal(status)
	}
	if status := run([]string{"monitor", "add-log", silent.URL, "--policy", filepath.Join(dir, "policy.txt"), "--dir", filepath.Join(dir, "mon")}); status != 0 {
		t.Fatal(status)
	}
	if status := run([]string{"lab", "up", filepath.Join(dir, "lab"), "--chassis", "1", "--vms", "1"}); status != 0 {
		t.Fatal(status)
	}
	for _, line := range []string{
		"challenge --profile tdx -o -",
		"submit b.json --yes -o r.tlog-proof",
		"refresh vm.tlog-proof --policy vm.txt --log " + silent.URL + " -o r2.tlog-proof",
		"dossier vm.tlog-proof --policy vm.txt --log " + silent.URL + " -o d.json",
		"dossier intel:tdx:ppid:00112233445566778899aabbccddeeff -o -",
		"attest --check",
		"log entries " + silent.URL,
		"log fsck " + silent.URL,
		"lab prove lab --log " + silent.URL + " -o proofs",
		"policy add-log new.txt " + silent.URL,
		"policy add-witness policy.txt " + silent.URL,
		"policy add-auditor policy.txt " + silent.URL,
		"collateral fetch b.json --pcs " + silent.URL + " --cache-dir cache -o -",
		"monitor run --once --dir mon",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program(t, "poclog"), strings.Fields(line)...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "POCLOG_POLICY=policy.txt", "XDG_STATE_HOME="+t.TempDir(), "XDG_CACHE_HOME="+t.TempDir())
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said []string
			interrupted := false
			for s := bufio.NewScanner(stderr); s.Scan(); {
				said = append(said, s.Text())
				if !interrupted && s.Text() == "waiting for "+host+" to answer" {
					interrupted = true
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			_ = cmd.Wait() // its status says how it ended
			text := strings.Join(said, "\n")
			if got := cmd.ProcessState.ExitCode(); got != exitUndecided || !interrupted {
				t.Errorf("status %d, told %v:\n%s", got, interrupted, text)
			}
			if strings.Contains(text, "context canceled") || !strings.Contains(text, "interrupted") {
				t.Errorf("it does not say that it was interrupted:\n%s", text)
			}
		})
	}
}
