//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parts of this program that run in processes of their own. Strangers come from other machines, and
// so does the honest client: neither must take the other's processor, or the ratios would say what
// strangers cost the client. Strangers therefore run at the lowest priority (nice 19): they get
// what the servers, the proxy and the client leave. What is measured then is what the servers do
// for strangers.
const (
	partFront     = "front"     // the reverse proxy: its log's URL → its own
	partStrangers = "strangers" // a job → "held" once they hold what they can
)

// lowest is the lowest priority.
const lowest = 19

// envPart says which part a process is.
const envPart = "POCLOG_STRANGERS_PART"

// play runs the part that the environment names, and reports whether it names one. A part reads one
// line of JSON, answers with one line, and ends when its standard input does.
func play() (played bool) {
	part := os.Getenv(envPart)
	if part == "" {
		return false
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = map[string]func(line []byte, ended io.Reader) error{partFront: playFront, partStrangers: playStrangers}[part](line, in)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", part, err)
		os.Exit(1)
	}
	return true
}

// playFront is the reverse proxy before a log. It says who its clients are.
func playFront(line []byte, ended io.Reader) error {
	var target string
	if err := json.Unmarshal(line, &target); err != nil {
		return err
	}
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.SetXForwarded() },
		// As a real proxy it keeps as many connections as it has requests.
		Transport:    &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	go func() { _ = srv.Serve(l) }() // the process ends it
	fmt.Println("http://" + l.Addr().String())
	_, err = io.Copy(io.Discard, ended)
	return err
}

// A job is what strangers are told.
type job struct {
	Names   []string
	Targets targets
	Scale   scale
}

func playStrangers(line []byte, in io.Reader) error {
	var j job
	if err := json.Unmarshal(line, &j); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all []func()
	defer func() {
		cancel()
		for _, ended := range all {
			ended()
		}
	}()
	for _, st := range strangers {
		if st.begin == nil || !slices.Contains(j.Names, st.name) {
			continue
		}
		ended, err := st.begin(&j.Targets, ctx, j.Scale)
		if err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		all = append(all, ended)
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, in)
	return err
}

// A part is a process of this program.
type part struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// start starts a part at a priority (0, or up to 19 for the lowest), and tells it what it needs.
func (s *stage) start(ctx context.Context, name, which string, nice int, told any) (*part, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	messages, err := os.OpenFile(filepath.Join(s.dir, name+".messages"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer messages.Close() // the process has it
	p := &part{cmd: exec.CommandContext(ctx, "nice", "-n", strconv.Itoa(nice), self)}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), envPart+"="+which), messages
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := in.Write(append(line, '\n')); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// line is what the part answers.
func (p *part) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("a part that ended: %w", errors.Join(err, p.end()))
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// end has the part end, and waits for it.
func (p *part) end() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }
