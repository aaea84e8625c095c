// Package demo plays the main job: real evidence and a laboratory cloud are logged, checked
// offline, watched, and forged in vain. It runs the project's own log, witnesses, auditor and
// monitor in one process, on a temporary folder and loopback addresses.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Config says how the demonstration runs.
type Config struct {
	Out      io.Writer
	Width    int    // of Out's lines; 0 breaks none
	Software string // name and version, as the log's entries have it
	Once     bool   // end after the last act
}

// A SetupError says that the demonstration could not be played: nothing was shown to be wrong.
type SetupError struct{ Err error }

// Error gives the cause.
func (e *SetupError) Error() string { return "the demonstration cannot run: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// A stage is what the acts of the demonstration share.
type stage struct {
	w      io.Writer
	dir    string
	url    string
	policy *tlogpolicy.Policy
	client *client.Client
	acts   int
	stops  []func() error // end what runs, in the reverse order

	width    int
	software string
}

// Run plays the demonstration. Unless once, it stays up after the last act until ctx ends. An error
// says what was not as told.
func Run(ctx context.Context, cfg Config) (err error) {
	dir, err := os.MkdirTemp("", "poclog-demo-*")
	if err != nil {
		return &SetupError{err}
	}
	defer os.RemoveAll(dir)
	s := &stage{w: cfg.Out, width: cfg.Width, dir: dir, software: cfg.Software}
	s.say("A confidential VM's quote says what runs, and on which genuine chip. It never says where the chip stands.",
		"A Proof of Cloud adds that, and a log makes it public: nobody can use one chip, key or quote twice unseen.")
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := play(ctx, s.openLog, s.actRealEvidence, s.actForgeries); err != nil {
		return err
	}
	c, err := s.openCloud(ctx)
	if err != nil {
		return err
	}
	if err := play(ctx, c.actCloud, c.actEndorse, c.actHistory, c.actMonitor, c.actDossier, c.actRevoke); err != nil {
		return err
	}
	explorer, err := c.explore(ctx)
	if err != nil {
		return err
	}
	if cfg.Once {
		s.say("Everything was as told.")
		return nil
	}
	s.say("Open these in a browser: both check files there, and send them nowhere.")
	s.line("explorer", "%s", explorer)
	s.line("", "└ a chip that moved, one that is claimed twice, one that an alliance revoked")
	s.line("log", "%s/", c.log.URL)
	s.say("Both stay up until you stop them. Try, in another terminal:")
	s.try(os.Args[0]+" log entries "+c.log.URL+" --policy "+filepath.Join(dir, "cloud", "policy.txt"),
		os.Args[0]+" log fsck "+s.url+" --policy "+filepath.Join(dir, "log", "policy.txt"),
		os.Args[0]+" verify "+filepath.Join(dir, "quote.tlog-proof")+" --policy "+filepath.Join(dir, "log", "policy.txt")+" --level 0",
		os.Args[0]+" monitor list cvms --place gce/lab-north1 --dir "+filepath.Join(dir, "monitor"),
		os.Args[0]+" verify "+filepath.Join(dir, "monitor", "contradictions")+"/*.json --policy "+filepath.Join(dir, "cloud", "policy.txt")+" --realm lab",
		os.Args[0]+" lab attack --list")
	<-ctx.Done()
	return nil
}

func play(ctx context.Context, acts ...func(context.Context) error) error {
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends everything, each log before its witnesses.
func (s *stage) stop() error {
	var err error
	for _, stop := range slices.Backward(s.stops) {
		err = errors.Join(err, stop())
	}
	return err
}

func (s *stage) say(lines ...string) {
	fmt.Fprintln(s.w)
	for _, text := range lines {
		indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
		fmt.Fprintln(s.w, terminal.Wrap(text, indent, s.width))
	}
}

// try lists commands that can be pasted.
func (s *stage) try(commands ...string) {
	for _, c := range commands {
		fmt.Fprintln(s.w, terminal.Command(c, 2, s.width))
	}
}

func (s *stage) act(title string) {
	s.acts++
	fmt.Fprintf(s.w, "\n%s\n", terminal.Hang("── ", fmt.Sprintf("Act %d. %s ──", s.acts, title), s.width))
}

func (s *stage) line(mark, format string, args ...any) {
	text, label := fmt.Sprintf(format, args...), fmt.Sprintf("  %-8s ", mark)
	if detail, ok := strings.CutPrefix(text, "└ "); ok {
		text, label = detail, label+"└ "
	}
	fmt.Fprintln(s.w, terminal.Hang(label, text, s.width))
}

// openLog makes the demonstration's log and serves it.
func (s *stage) openLog(ctx context.Context) error {
	dir := filepath.Join(s.dir, "log")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return &SetupError{err}
	}
	s.url = "http://" + listener.Addr().String()
	if err := log.Init(dir, log.InitOptions{Origin: "demo.poclog.example/" + time.Now().UTC().Format("2006"), URL: s.url, Policy: profile.DefaultPolicy(true)}); err != nil {
		return err
	}
	svc, err := log.Open(ctx, dir, log.Config{Software: s.software, Logger: slog.New(slog.DiscardHandler), CheckpointInterval: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: svc.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(listener) }() // Shutdown ends it, and Close says what went wrong
	s.stops = append(s.stops, func() error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(srv.Shutdown(end), svc.Close(end))
	})
	text, err := os.ReadFile(filepath.Join(dir, "policy.txt"))
	if err != nil {
		return err
	}
	if s.policy, err = tlogpolicy.Parse(text); err != nil {
		return err
	}
	s.client, err = client.New(client.Config{URL: s.url, Policy: s.policy})
	return err
}

// expectRefusal holds a step to its promise: this is refused, by this check.
func (s *stage) expectRefusal(what string, err error, check verify.Check) error {
	got := verify.Check("")
	detail := ""
	if c, ok := verify.CheckOf(err); ok {
		got, detail = c, err.Error()
	} else if p, ok := errors.AsType[*client.Problem](err); ok {
		got, detail = verify.Check(p.Check), p.Check+": "+p.Detail
	}
	if err == nil || got != check {
		return fmt.Errorf("%s: %q refused, not %q: %w", what, got, check, errOrNone(err))
	}
	s.line("refused", "%s", what)
	s.line("", "└ %s", shorten(detail))
	return nil
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("nothing refused it")
	}
	return err
}

// shorten keeps a demonstration's line on a terminal.
func shorten(s string) string {
	const width = 118
	if len(s) > width {
		return s[:width-1] + "…"
	}
	return s
}

// submission is evidence with its collateral, if it has any.
func submission(b *poclog.Bundle, c *poclog.Collateral) (*poclog.Submission, error) {
	sub := new(poclog.Submission)
	var err error
	if sub.Bundle, err = b.Marshal(); err == nil && c != nil {
		sub.Collateral, err = c.Marshal()
	}
	return sub, err
}

// flip returns a bundle with one other bit in an item, at an offset.
func flip(b *poclog.Bundle, item poclog.Item, offset int) *poclog.Bundle {
	c := b.Clone()
	changed := bytes.Clone(c.Get(item))
	if offset < 0 {
		offset += len(changed)
	}
	changed[offset] ^= 1
	c.Set(item, changed)
	return c
}
