package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A logFlags says which log a command talks to.
type logFlags struct{ url, policy string }

func (f *logFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "log", "", "the log's URL (default: the one in the tlog-policy)")
	c.Flags().StringVar(&f.policy, "policy", "", "tlog-policy: whose signatures count")
}

// client returns a client that remembers checkpoints in the XDG state folder.
func (f *logFlags) client(cmd *cobra.Command) (*client.Client, error) {
	p, err := readTlogPolicy(cmd, f.policy)
	if err != nil {
		return nil, err
	}
	if f.url == "" {
		if f.url = urlOf(p); f.url == "" {
			return nil, usagef("say which log: --log URL")
		}
	}
	store, err := client.NewFileStore(checkpointsFolder())
	if err != nil {
		return nil, undecided(err)
	}
	again := func(err error, after time.Duration) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s; again in %s\n", err, after.Round(100*time.Millisecond))
	}
	c, err := client.New(client.Config{URL: f.url, Policy: p, Store: store, UserAgent: softwareName(), Again: again})
	if err != nil {
		return nil, usagef("%w", err)
	}
	return c, nil
}

// urlOf returns the one address that a policy gives its logs, if it is one.
func urlOf(p *tlogpolicy.Policy) string {
	found := ""
	for _, l := range p.Logs() {
		if l.URL != "" && found != "" && l.URL != found {
			return ""
		}
		if l.URL != "" {
			found = l.URL
		}
	}
	return found
}

// evidenceFlags say what is submitted beside a bundle.
type evidenceFlags struct{ collateral, at string }

func (f *evidenceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.collateral, "collateral", "", "collateral to judge the bundle by")
	c.Flags().StringVar(&f.at, "at", "", "historical evidence: judge it at this time, RFC 3339")
}

type submitCmd struct {
	logFlags
	evidenceFlags
	keyFlags
	auditedFlag
	out output
	yes bool
}

func newSubmitCmd() *cobra.Command {
	s := new(submitCmd)
	c := &cobra.Command{
		Use:   "submit FILE",
		Short: "Send a bundle to a log and keep the receipt",
		Long: "Send a bundle, and collateral if you have it, to a log, and keep the receipt. What becomes public is shown first, and asked once.\n\n" +
			"A log that admits only the publishers that its policy lists takes what their keys signed: --key signs, and FILE may be an envelope that\n" +
			"`poclog sign` made. Evidence without a challenge is historical: it is judged at the time of its collateral, or at --at.",
		Example: "  poclog submit vm.bundle.json --log https://log.example/2026 -o vm.tlog-proof\n" +
			"  poclog submit vm.bundle.json --key publisher.key -o vm.tlog-proof",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args[0]) },
	}
	s.logFlags.register(c)
	s.evidenceFlags.register(c)
	s.keyFlags.register(c, "sign as a publisher with this key")
	s.auditedFlag.register(c)
	s.out.flags(c, "receipt")
	c.Flags().BoolVar(&s.yes, "yes", false, "publish without asking")
	return c
}

func (s *submitCmd) run(cmd *cobra.Command, path string) error {
	if err := s.out.check(); err != nil {
		return err
	}
	if s.audited && s.out.path == "-" {
		return usagef("--audited: the receipt is written before and after the audit, and standard output takes one")
	}
	sub, err := s.submission(cmd, path)
	if err != nil {
		return err
	}
	cl, err := s.client(cmd)
	if err != nil {
		return err
	}
	if err := s.possible(cl); err != nil {
		return err
	}
	keys, err := s.open(cmd)
	if err != nil {
		return err
	}
	// Before anything is asked or published: what this machine saw of the log must fit with what it
	// shows.
	if _, err := cl.Checkpoint(cmd.Context()); err != nil {
		return fromLog(err)
	}
	list, err := disclosed(sub, keys)
	if err != nil {
		return err
	}
	if err := consent(cmd, s.yes, s.url, list, keys); err != nil {
		return err
	}
	if err := seal(cmd, sub, keys); err != nil {
		return err
	}
	got, err := (&sender{cmd, cl}).submitAndKeep(sub, &s.out)
	if err != nil {
		return unjudged(unsigned(err), s.collateral)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), describeLogged(got.Verdict, got.New, new(eventJSON)))
	moved, err := s.wait(cmd, cl, got.Receipt)
	if err != nil || bytes.Equal(moved, got.Receipt) {
		return err
	}
	s.out.force = true // it is the receipt that was just written
	if err := s.out.write(cmd, moved); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), gained(got.Receipt, moved, cl.Policy))
	return nil
}

// unsigned adds to a log's refusal what its publishers can do.
func unsigned(err error) error {
	if checkOf(err) == verify.PublisherSignature {
		return hint(err, "--key signs; the log's operator lists keys, as `poclog key show` prints them, under \"publishers\" in appraisal.json; %s", explainHint(string(verify.PublisherSignature)))
	}
	return err
}

// unjudged adds to a log's refusal what brings the collateral that nobody brought.
func unjudged(err error, collateral string) error {
	if c := checkOf(err); collateral == "" && (c == verify.TEERevocation || c == verify.TEETCB) {
		return hint(err, "--collateral brings what judges the platform: `poclog collateral fetch` asks its manufacturer; %s", explainHint(string(c)))
	}
	return err
}

// checkOf is the check by which a log refused, if it did.
func checkOf(err error) verify.Check {
	var p *client.Problem
	if !errors.As(err, &p) {
		return ""
	}
	return verify.Check(p.Check)
}

// submission reads a bundle, or the envelope of what was signed before.
func (s *evidenceFlags) submission(cmd *cobra.Command, path string) (*poclog.Submission, error) {
	file, err := readFile(cmd, path, poclog.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	if poclog.IsEnvelope(file) {
		return s.signed(path, file)
	}
	sub := &poclog.Submission{Bundle: file}
	b, err := poclog.ParseBundle(sub.Bundle)
	if err != nil {
		return nil, notABundle(path, file, err)
	}
	var col *poclog.Collateral
	if s.collateral != "" {
		if sub.Collateral, col, err = readCollateral(cmd, s.collateral); err != nil {
			return nil, err
		}
	}
	if s.at != "" {
		if sub.Judged, err = time.Parse(time.RFC3339, s.at); err != nil {
			return nil, usagef("--at: %w", err)
		}
		return sub, profile.CheckSubmission(sub)
	}
	if col != nil && !b.Has(poclog.ItemChallenge) {
		from, _, err := tdx.Validity(col)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.collateral, err)
		}
		sub.Judged = from.UTC()
	}
	return sub, profile.CheckSubmission(sub)
}

// notABundle says of a file that cannot be submitted what it is, and where bundles come from.
func notABundle(path string, file []byte, err error) error {
	if bytes.HasPrefix(file, []byte(bundleStart)) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if is := importer.KindOf(file); whatToDoWith[is] != "" {
		return hint(fmt.Errorf("%s: it is %s, neither a bundle nor an envelope", path, is), "%s", whatToDoWith[is])
	}
	return hint(fmt.Errorf("%s: neither a bundle nor an envelope", path), "`poclog attest` and `poclog import` make bundles; `poclog inspect` shows what is in a file")
}

// signed opens an envelope: what was signed stays as it is.
func (s *evidenceFlags) signed(path string, file []byte) (*poclog.Submission, error) {
	if s.collateral != "" || s.at != "" {
		return nil, usagef("%s is signed: its collateral and its time cannot be changed", path)
	}
	v, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sub, err := v.Submission()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := poclog.ParseBundle(sub.Bundle); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sub.Envelope = file
	return sub, nil
}

func newRefreshCmd() *cobra.Command {
	var f logFlags
	var out output
	var with staple
	var audited auditedFlag
	c := &cobra.Command{
		Use:   "refresh RECEIPT",
		Short: "Move a receipt to the log's newest checkpoint",
		Long: "Move a receipt to the log's newest checkpoint, which more witnesses or auditors may have signed. The entry and the times between which\n" +
			"its evidence was made do not move: old evidence stays old. With --dossier, everything that the log says of the receipt's identities is kept,\n" +
			"too. With --audited, it waits for an auditor.",
		Example: "  poclog refresh vm.tlog-proof -o vm.tlog-proof --force\n  poclog refresh vm.tlog-proof --audited -o audited.tlog-proof",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(out.check(), with.check(out.force)); err != nil {
				return err
			}
			file, err := readFile(cmd, args[0], poclog.MaxReceipt)
			if err != nil {
				return err
			}
			cl, err := f.client(cmd)
			if err != nil {
				return err
			}
			if err := audited.possible(cl); err != nil {
				return err
			}
			moved, err := cl.Refresh(cmd.Context(), file)
			if err == nil {
				moved, err = audited.wait(cmd, cl, moved)
			}
			if err := keepReceipt(cmd, &out, moved, err); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), gained(file, moved, cl.Policy))
			return with.keep(cmd, cl, moved)
		},
	}
	f.register(c)
	audited.register(c)
	out.flags(c, "receipt")
	with.flags(c.Flags())
	return c
}
