package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/guest"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// guestProgram is poclog in a laboratory's VM: the command as it is, with the VM's configfs-tsm and
// the kernel's files in place of this machine's.
const guestProgram = "poclog-guest"

// Where guestMain finds its host, and the kernel's files.
const (
	guestHostVar = "POCLOG_TEST_HOST"
	guestRootVar = "POCLOG_TEST_ROOT"
)

func guestMain() {
	thisMachine = func(tpm, imds string) *attest.Machine {
		return &attest.Machine{
			Root: os.Getenv(guestRootVar), IMDS: &importer.IMDS{URL: imds}, Issuers: new(attest.Issuers),
			TSM: func() (configfsi.Client, error) {
				if os.Getenv(guestHostVar) == "" {
					return nil, errors.New("stat /sys/kernel/config/tsm: no such file or directory")
				}
				return guest.RemoteTSM(os.Getenv(guestHostVar)), nil
			},
			TPM: func() (transport.TPMCloser, error) { return importer.OpenTPM(tpm) },
		}
	}
	main()
}

// A scene is a laboratory's machine, and a log that judges the laboratory: processes of their own.
type scene struct {
	t      *testing.T
	g      *guest.Guest
	flags  []string // of attest: where the machine's TPM and certificates are
	env    []string
	log    *exec.Cmd
	serve  []string // the log's command line
	url    string
	policy string
}

// program finds a program that testscript made of this test.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newScene starts a log for a cloud's evidence under a policy, and puts a guest before it.
func newScene(t *testing.T, c *gce.Cloud, policy *poclog.Policy, g *guest.Guest, flags ...string) *scene {
	t.Helper()
	col := c.Collateral(chip.CollateralOptions{At: time.Now().Add(-time.Minute).Truncate(time.Hour)})
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pcs.Serve(col, w, r) }))
	t.Cleanup(publisher.Close)
	dir := filepath.Join(t.TempDir(), "log")
	appraisal := filepath.Join(t.TempDir(), "appraisal.json")
	file, err := policy.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(appraisal, file, 0o644); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	s := &scene{t: t, g: g, url: "http://" + address, policy: filepath.Join(dir, "policy.txt")}
	s.flags = append([]string{"attest", "--log", s.url, "--policy", s.policy, "--tpm", g.V.Socket}, flags...)
	s.env = append(os.Environ(), guestRootVar+"="+g.Root, guestHostVar+"="+g.Host(), "XDG_STATE_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	s.serve = []string{
		"log", "serve", dir, "--listen", address, "--checkpoint-interval", "100ms", "--pcs", publisher.URL, "--launch-endorsements", publisher.URL, "--rate", "1000",
	}
	if out, err := exec.Command(program(t, "poclog"), "log", "init", dir, "--origin", "lab.test/1", "--appraisal", appraisal).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.startLog()
	t.Cleanup(s.stopLog)
	return s
}

func (s *scene) startLog() {
	s.t.Helper()
	s.log = exec.Command(program(s.t, "poclog"), s.serve...)
	if err := s.log.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 3000 {
		if resp, err := http.Get(s.url + "/health"); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatal("the log does not answer")
}

func (s *scene) stopLog() {
	_ = s.log.Process.Kill() // a log loses nothing by that
	_ = s.log.Wait()
}

// attest runs the command and returns its exit status and both outputs.
func (s *scene) attest(args ...string) (status int, stdout, stderr string) {
	s.t.Helper()
	return s.exec(exec.Command(program(s.t, guestProgram), append(s.flags, args...)...))
}

func (s *scene) exec(cmd *exec.Cmd) (status int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// tlog reads the log's tlog-policy.
func (s *scene) tlog() *tlogpolicy.Policy {
	s.t.Helper()
	text, err := os.ReadFile(s.policy)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := tlogpolicy.Parse(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// verify checks a receipt offline under a relying party's demands.
func (s *scene) verify(path string, userData []byte) *receipt.Verdict {
	s.t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	digest := poclog.Sum(userData)
	v, err := receipt.Check(file, s.tlog(), time.Now(), receipt.Demands{UnsafeRealm: poclog.Lab, UserData: &digest})
	if err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
	return v
}

// proofs is the number of entries of the log that are no config entry.
func (s *scene) proofs() int {
	s.t.Helper()
	c, err := client.New(client.Config{URL: s.url, Policy: s.tlog()})
	if err != nil {
		s.t.Fatal(err)
	}
	cp, err := c.Checkpoint(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return int(cp.Size) - 1
}

// managedScene is a VM of the laboratory's cloud, and a log that admits whose evidence the
// publishers signed, if there are any.
func managedScene(t *testing.T, rsa bool, publishers ...string) *scene {
	t.Helper()
	c := gce.New("attest", time.Now().UTC().AddDate(-1, 0, 0).Truncate(24*time.Hour))
	c.Advance(time.Since(c.Now))
	h, err := c.NewHost(c.Zones[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := h.NewVM(0, gce.VMConfig{RSA: rsa})
	if err != nil {
		t.Fatal(err)
	}
	g := guest.Managed(t, c, vm, rsa)
	policy := c.Policy(nil, "")
	if len(publishers) > 0 {
		policy.Publishers = &poclog.Publishers{Threshold: 1, Keys: publishers}
	}
	return newScene(t, c, policy, g, "--ak-chain", g.PEM(g.Certificates(g.Chain)[1:]...))
}

// metalScene is a TD on a bare-metal machine whose AK is held to the launch.
func metalScene(t *testing.T) *scene {
	t.Helper()
	from := time.Now().UTC().AddDate(-1, 0, 0).Truncate(24 * time.Hour)
	c := gce.New("attest", from)
	c.Advance(time.Since(c.Now))
	p := metal.New("attest", "lab-metal", from, c.Maker)
	g := guest.Metal(t, discrete.New(t, p, "lab-north1-a", discrete.Options{}))
	chains := []string{
		"--ak", fmt.Sprintf("%#08x", uint32(guest.MetalAK)), "--ak-chain", g.PEM(g.Certificates(g.Chain)...), "--ek-chain", g.PEM(g.Certificates(g.EKChain)[1:]...),
	}
	return newScene(t, c, p.Policy(nil, ""), g, chains...)
}

func TestAttestedVMIsAdmitted(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *scene{
		"managed, ECC": func(t *testing.T) *scene { return managedScene(t, false) },
		"managed, RSA": func(t *testing.T) *scene { return managedScene(t, true) },
		"bare metal":   metalScene,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			key := []byte("a TLS key")
			dir := t.TempDir()
			file := func(name string) string { return filepath.Join(dir, name) }
			if err := os.WriteFile(file("tls.pub"), key, 0o644); err != nil {
				t.Fatal(err)
			}
			status, _, stderr := s.attest("--submit", "--yes", "--user-data", file("tls.pub"), "-o", file("vm.bundle.json"), "--receipt", file("vm.tlog-proof"))
			if status != 0 || !strings.Contains(stderr, "entry 1 of lab.test/1, level 2") || !strings.Contains(stderr, "chip: intel:tdx:ppid:") {
				t.Fatalf("status %d: %s", status, stderr)
			}
			v := s.verify(file("vm.tlog-proof"), key)
			if v.Entry.Fresh == nil || v.Entry.Level != poclog.LevelBound || v.Entry.Place.Zone.Value != "lab-north1-a" {
				t.Errorf("entry %+v", v.Entry)
			}
			bundle, err := os.ReadFile(file("vm.bundle.json"))
			if err != nil || poclog.BlobOf(bundle) != v.Entry.Evidence.Bundle {
				t.Errorf("another bundle than was logged: %v", err)
			}
			// Without a file for the receipt it is kept in the state's folder; a second proof is
			// another one.
			status, _, stderr = s.attest("--submit", "--yes")
			if status != 0 || !strings.Contains(stderr, "entry 2 of lab.test/1, level 2") || s.proofs() != 2 {
				t.Errorf("status %d, %d proofs: %s", status, s.proofs(), stderr)
			}
			if loaded := s.g.V.Loaded(); len(loaded) > 0 {
				t.Errorf("the TPM still holds %x", loaded)
			}
		})
	}
}

func TestAttestChecksAndRefuses(t *testing.T) {
	s := managedScene(t, false)
	status, stdout, stderr := s.attest("--check")
	if status != 0 || strings.Contains(stdout, "missing") || strings.Count(stdout, "\n") != 7 || !strings.Contains(stdout, "accepts this machine's profile, gce-tdx-vtpm, from level 2 on") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if status, _, stderr := s.attest("--check", "--profile", "tdx"); status != exitUsage || !strings.Contains(stderr, "--tpm") {
		t.Errorf("the TPM of evidence that has none: status %d: %s", status, stderr)
	}
	status, stdout, _ = s.exec(exec.Command(program(t, guestProgram), "attest", "--log", s.url, "--policy", s.policy, "--check", "--json", "--profile", "tdx"))
	var report struct {
		V            int
		OK           bool
		Requirements []struct{ Name, Detail, How string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 1 || report.V != 1 || report.OK || len(report.Requirements) != 3 {
		t.Errorf("status %d: %s: %v", status, stdout, err)
	} else if q := report.Requirements[2]; q.Name != "log" || !strings.Contains(q.How, "a log that admits profile tdx") || !strings.Contains(q.Detail, "does not accept this machine's profile, tdx; it admits gce-tdx-vtpm") {
		t.Errorf("%+v", q)
	}
	out := filepath.Join(t.TempDir(), "x")
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"nobody agreed":         {[]string{"-o", out}, exitUsage, "--yes publishes without asking"},
		"nothing to do":         {nil, exitUsage, "say what to do with the evidence"},
		"check and do":          {[]string{"--check", "--submit"}, exitUsage, "--check only reports"},
		"receipt of nothing":    {[]string{"--yes", "-o", out, "--receipt", out}, exitUsage, "there is no receipt"},
		"receipt of a service":  {[]string{"--yes", "--every", "10m", "--receipt", out}, exitUsage, "--state"},
		"a key read once":       {[]string{"--yes", "--every", "10m", "--user-data", "-"}, exitUsage, "standard input"},
		"two on one output":     {[]string{"--yes", "-o", "-", "--json"}, exitUsage, "holds one of them"},
		"half a second":         {[]string{"--yes", "--every", "500ms"}, exitUsage, "whole seconds"},
		"a wrong handle":        {[]string{"--yes", "-o", out, "--persist", "0x80000000"}, exitUsage, "0x81000000"},
		"a wrong profile":       {[]string{"--yes", "-o", out, "--profile", "none"}, exitUsage, "--profile"},
		"an unknown chain":      {[]string{"--yes", "-o", out, "--ak-chain", s.g.V.Socket + ".none"}, exitUndecided, "no such file"},
		"a TPM that is none":    {[]string{"--yes", "-o", out, "--tpm", "/dev/none"}, exitUndecided, "--tpm names another device or a socket"},
		"user data that is not": {[]string{"--yes", "-o", out, "--user-data", out + ".none"}, exitUndecided, "no such file"},
		"a log that is none":    {[]string{"--yes", "-o", out, "--log", "http://127.0.0.1:1"}, exitUndecided, "ask the log"},
	} {
		status, _, stderr := s.attest(c.args...)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d: %s", name, status, stderr)
		}
	}
	if fileExists(out) || s.proofs() != 0 {
		t.Errorf("something was written or logged: %d proofs", s.proofs())
	}
	s.g.V.Extend(9, []byte("what no log tells"))
	if status, stdout, stderr := s.attest("--check"); status != exitNo || !strings.Contains(stdout, "refused  bind.pcr-rtmr") || !strings.Contains(stderr, "contradicts itself") {
		t.Errorf("--check of evidence that contradicts itself: status %d: %s%s", status, stdout, stderr)
	}
	if status, _, stderr := s.attest("--yes", "--submit"); status != exitNo || !strings.Contains(stderr, "bind.pcr-rtmr") || s.proofs() != 0 {
		t.Errorf("evidence that contradicts itself: status %d: %s", status, stderr)
	}
}

// A log that admits only known publishers takes what the machine's key signed, and says to others
// what they can do.
func TestAttestSignsAsAPublisher(t *testing.T) {
	key := filepath.Join(t.TempDir(), "vm.key")
	out, err := exec.Command(program(t, "poclog"), "key", "new", "-o", key).Output()
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	s := managedScene(t, false, strings.TrimSpace(strings.TrimPrefix(line, "policy")))
	if status, _, stderr := s.attest("--submit", "--yes"); status != exitNo || !strings.Contains(stderr, "publisher.signature") || !strings.Contains(stderr, "--key signs") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if status, _, stderr := s.attest("--submit", "--yes", "--key", key); status != 0 || !strings.Contains(stderr, "signed by key") || s.proofs() != 1 {
		t.Errorf("status %d, %d proofs: %s", status, s.proofs(), stderr)
	}
}

// freeAddress is one of this machine at which nobody listened a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
