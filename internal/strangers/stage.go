//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/pcs"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// machines is how many a publisher has. A log takes only so many entries of one in an hour.
const machines = 4

// memoryLimit is what each process that is served may take, in MiB.
const memoryLimit = 512

// A process is one of the project's own.
type process struct {
	name string
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when it has ended
}

// A stage is everything that runs.
type stage struct {
	dir, binary string
	processes   []*process
	closers     []func()

	mu    sync.Mutex // guards the cloud, which is not safe for concurrent use
	cloud *gce.Cloud

	log, other        *process // the second log is the one that is down
	witness           *process
	monitor           *process
	auditor           *process
	front             string        // the URL of the proxy before the log
	proxy, strangers  *part         // strangers is nil while there are none
	hangs             *hangingProxy // before the second witness
	policy            *tlogpolicy.Policy
	otherPolicy       *tlogpolicy.Policy
	quote, otherQuote []byte // that were logged, of chips of their own
	alert             string // path of an alert's file at the monitor
}

// newStage starts everything.
func newStage(ctx context.Context, binary string, publishers int) (s *stage, err error) {
	s = &stage{binary: binary}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "poclog-strangers-*"); err != nil {
		return s, err
	}
	s.cloud = gce.New("strangers", time.Now().AddDate(-1, 0, 0))
	s.cloud.Advance(time.Since(s.cloud.Now))
	for i := range publishers*machines + 2 { // of which one is the other log's, and one the monitor's clients'
		h := must.Get(s.cloud.NewHost(s.cloud.Zones[i%len(s.cloud.Zones)], 1))
		must.Get(h.NewVM(0, gce.VMConfig{}))
	}
	for _, step := range []func(context.Context) error{s.startLogs, s.startAuditor, s.logQuotes, s.startMonitor} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *stage) close() {
	for _, p := range slices.Backward(s.processes) {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // one that is held must be able to end
		_ = p.cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	for _, end := range slices.Backward(s.closers) {
		end()
	}
	_ = os.RemoveAll(s.dir) // a temporary folder
}

// run runs a command to its end.
func (s *stage) run(ctx context.Context, ok []int, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env = s.environment()
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if exit, is := errors.AsType[*exec.ExitError](err); is && slices.Contains(ok, exit.ExitCode()) {
		return string(out), nil
	}
	if err != nil {
		return "", fmt.Errorf("poclog %s: %w: %s", strings.Join(args, " "), err, messages.String())
	}
	return string(out), nil
}

// runAll runs commands, one after the other, which succeed.
func (s *stage) runAll(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if _, err := s.run(ctx, nil, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) environment() []string {
	return append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(s.dir, "state"), "XDG_CACHE_HOME="+filepath.Join(s.dir, "cache"), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"))
}

// serve starts a process that listens on a free port, and waits until it answers.
func (s *stage) serve(ctx context.Context, name string, args ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	messages, err := os.Create(filepath.Join(s.dir, name+".messages"))
	if err != nil {
		return nil, err
	}
	p := &process{name: name, url: "http://" + address, done: make(chan struct{})}
	p.cmd = exec.Command(s.binary, append(args, "--listen", address, "--memory", strconv.Itoa(memoryLimit))...)
	p.cmd.Env, p.cmd.Stderr = s.environment(), messages
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, messages.Close())
	}
	s.processes = append(s.processes, p)
	go func() {
		_ = p.cmd.Wait() // how it ends is seen by who asks it
		messages.Close()
		close(p.done)
	}()
	for range 3000 {
		select {
		case <-p.done:
			text, _ := os.ReadFile(messages.Name())
			return nil, fmt.Errorf("%s ended: %s", name, text)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if resp, err := http.Get(p.url + "/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, nil
			}
		}
	}
	text, _ := os.ReadFile(messages.Name())
	return nil, fmt.Errorf("%s does not become healthy: %s", name, text)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startLogs makes two logs, and the witnesses of the first.
func (s *stage) startLogs(ctx context.Context) error {
	maker := httptest.NewServer(s.manufacturers())
	s.closers = append(s.closers, maker.Close)
	appraisal := filepath.Join(s.dir, "appraisal.json")
	file := must.Get(s.cloud.Policy(nil, maker.URL+"/registry/").Marshal())
	if err := os.WriteFile(appraisal, file, 0o600); err != nil {
		return err
	}
	init := func(name string) (dir string, err error) {
		dir = filepath.Join(s.dir, name)
		_, err = s.run(ctx, nil, "log", "init", dir, "--origin", name+".strangers.test", "--appraisal", appraisal)
		return dir, err
	}
	serve := func(dir string) (*process, error) {
		return s.serve(ctx, filepath.Base(dir), "log", "serve", dir, "--checkpoint-interval", "200ms", "--trusted-proxy", "127.0.0.1", "--pcs", maker.URL, "--launch-endorsements", maker.URL)
	}
	dir, err := init("log")
	if err != nil {
		return err
	}
	if err := s.startWitnesses(ctx, dir); err != nil {
		return err
	}
	if s.log, err = serve(dir); err != nil {
		return err
	}
	if dir, err = init("other"); err != nil {
		return err
	}
	if s.other, err = serve(dir); err != nil {
		return err
	}
	if s.policy, err = readPolicy(filepath.Join(s.dir, "log")); err != nil {
		return err
	}
	if s.otherPolicy, err = readPolicy(dir); err != nil {
		return err
	}
	if s.proxy, err = s.start(ctx, "front", partFront, 0, s.log.url); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = s.proxy.end() }) // it only passes on
	s.front, err = s.proxy.line()
	return err
}

// manufacturers serves what the maker of chips and the provider publish.
func (s *stage) manufacturers() http.Handler {
	col := s.cloud.Collateral(chip.CollateralOptions{At: time.Now().Add(-time.Hour)})
	mux := http.NewServeMux()
	mux.Handle("/registry/", http.StripPrefix("/registry", s.cloud.Registry))
	mux.Handle("/", pcs.New(col))
	return mux
}

func readPolicy(dir string) (*tlogpolicy.Policy, error) {
	text, err := os.ReadFile(filepath.Join(dir, "policy.txt"))
	if err != nil {
		return nil, err
	}
	return tlogpolicy.Parse(text)
}

// startWitnesses starts two witnesses of a log, of which one must cosign. Before the second stands
// what can hang.
func (s *stage) startWitnesses(ctx context.Context, logDir string) error {
	policy, err := readPolicy(logDir)
	if err != nil {
		return err
	}
	var keys []string
	for _, l := range policy.Logs() {
		keys = append(keys, l.VKey)
	}
	text, err := os.ReadFile(filepath.Join(logDir, "policy.txt"))
	if err != nil {
		return err
	}
	lines := strings.Replace(string(text), "quorum none\n", "", 1)
	for _, name := range []string{"w1", "w2"} {
		dir := filepath.Join(s.dir, name)
		err := s.runAll(ctx, []string{"witness", "init", dir, "--name", name + ".strangers.test"}, append([]string{"witness", "add-log", dir}, keys...))
		if err != nil {
			return err
		}
		w, err := s.serve(ctx, name, "witness", "serve", dir)
		if err != nil {
			return err
		}
		out, err := s.run(ctx, nil, "witness", "keys", dir)
		if err != nil {
			return err
		}
		address := w.url
		if name == "w1" {
			s.witness = w
		} else if address, err = s.hang(w.url); err != nil {
			return err
		}
		vkeys := strings.Fields(out)
		if len(vkeys) == 0 {
			return fmt.Errorf("witness %s has no keys", name)
		}
		lines += fmt.Sprintf("witness %s %s %s\n", name, vkeys[0], address)
	}
	lines += "group one 1 w1 w2\nquorum one\n"
	return os.WriteFile(filepath.Join(logDir, "policy.txt"), []byte(lines), 0o600)
}

// A hangingProxy passes requests on or, while it hangs, holds them.
type hangingProxy struct {
	hangs atomic.Bool
	pass  http.Handler
}

func (h *hangingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for h.hangs.Load() {
		if pause.For(r.Context(), 50*time.Millisecond) != nil {
			return
		}
	}
	h.pass.ServeHTTP(w, r)
}

func (s *stage) hang(before string) (string, error) {
	u, err := url.Parse(before)
	if err != nil {
		return "", err
	}
	s.hangs = &hangingProxy{pass: &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	srv := httptest.NewServer(s.hangs)
	s.closers = append(s.closers, srv.Close)
	return srv.URL, nil
}

func (s *stage) startAuditor(ctx context.Context) (err error) {
	dir := filepath.Join(s.dir, "auditor")
	err = s.runAll(ctx,
		[]string{"audit", "init", dir, "--name", "auditor.strangers.test"},
		[]string{"audit", "add-log", dir, s.log.url, "--policy", filepath.Join(s.dir, "log", "policy.txt")})
	if err != nil {
		return err
	}
	s.auditor, err = s.serve(ctx, "auditor", "audit", "serve", dir, "--interval", "500ms")
	return err
}

// logQuotes logs evidence of the last two chips, one in each log: monitors are asked about them.
func (s *stage) logQuotes(ctx context.Context) error {
	for i, dst := range []*[]byte{&s.quote, &s.otherQuote} {
		p := &publisher{stage: s, vm: len(s.cloud.VMs) - 1 - i, http: from("127.0.1.1"), url: []string{s.front, s.other.url}[i], policy: []*tlogpolicy.Policy{s.policy, s.otherPolicy}[i]}
		sub, err := p.evidence(ctx)
		if err != nil {
			return err
		}
		if err := p.submit(ctx, sub); err != nil {
			return err
		}
		*dst = must.Get(poclog.ParseBundle(sub.Bundle)).Get(poclog.ItemTDXQuote)
	}
	return nil
}

// startMonitor has a monitor read both logs, and a third one with an attack, so that it has an
// alert with a file.
func (s *stage) startMonitor(ctx context.Context) error {
	attacked, policy, err := s.attackedLog()
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "monitor")
	err = s.runAll(ctx,
		[]string{"monitor", "init", "--dir", dir},
		[]string{"monitor", "add-log", s.log.url, "--policy", filepath.Join(s.dir, "log", "policy.txt"), "--dir", dir},
		[]string{"monitor", "add-log", s.other.url, "--policy", filepath.Join(s.dir, "other", "policy.txt"), "--dir", dir},
		[]string{"monitor", "add-log", attacked, "--policy", policy, "--dir", dir})
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, []int{1}, "monitor", "run", "--once", "--dir", dir); err != nil {
		return err
	}
	if s.monitor, err = s.serve(ctx, "monitor", "monitor", "serve", "--dir", dir, "--appraisal", filepath.Join(s.dir, "appraisal.json")); err != nil {
		return err
	}
	s.alert, err = s.findAlert(ctx)
	return err
}

// peak is the most memory that a process had, in MiB, or 0 where the system does not say.
func (p *process) peak() int {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return n >> 10
		}
	}
	return 0
}

// from is a client with a source address of its own.
func from(address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 30 * time.Second}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 4}, Timeout: time.Minute}
}

func drain(resp *http.Response) {
	_, _ = io.Copy(io.Discard, resp.Body) // what it says matters to nobody here
	resp.Body.Close()
}
