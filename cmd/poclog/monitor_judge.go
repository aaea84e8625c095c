package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/platforms"
)

// A judgeCmd judges logged platforms again.
type judgeCmd struct {
	cacheFlags
	dir    monitorFlags
	files  []string
	asJSON bool
}

func newMonitorJudgeCmd() *cobra.Command {
	j := new(judgeCmd)
	c := &cobra.Command{
		Use:   "judge",
		Short: "Judge logged platforms again, by what their manufacturers published since",
		Long: "Takes of every chip's newest bundle what manufacturers judge, once, and judges all chips by the newest collateral: tcb-fell where firmware that stood\n" +
			"when a proof was logged has fallen since, platform-revoked where a certificate was taken back. Collateral is asked for, verified and kept as by\n" +
			"`poclog collateral fetch`, or given in files. Run it from cron, every few hours. Exit status 1: there is something new.",
		Example: "  poclog monitor judge\n  poclog monitor judge --collateral new.collateral.json --appraisal appraisal.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return j.run(cmd) },
	}
	j.dir.register(c)
	j.cacheFlags.register(c)
	c.Flags().StringArrayVar(&j.files, "collateral", nil, "judge by this collateral file, and ask nobody")
	c.Flags().BoolVar(&j.asJSON, "json", false, "print JSON")
	return c
}

// judged is what --json prints.
type judged struct {
	V         int      `json:"v"`
	Platforms int      `json:"platforms"`
	Without   int      `json:"without_evidence"`
	Learned   int      `json:"learned"`
	Judged    int      `json:"judged"`
	Fallen    int      `json:"fallen"`
	Alerts    int      `json:"new_alerts"`
	Ignored   []string `json:"ignored"`
}

func (j *judgeCmd) run(cmd *cobra.Command) error {
	if len(j.files) > 0 {
		if err := unused(cmd, "with --collateral nobody is asked", "pcs", "kds", "launch-endorsements", "cache-dir"); err != nil {
			return err
		}
	}
	p, err := j.readPolicy(cmd)
	if err != nil {
		return err
	}
	logger := newLogger(cmd)
	cfg := monitor.Config{Silence: notify.SilencesIn(j.dir.folder()).Silencer(time.Now, logger)}
	return j.dir.with(cfg, func(m *monitor.Monitor) (err error) {
		k, err := platforms.Open(j.dir.folder(), m, loggedEvidence(m), p, time.Now)
		if err != nil {
			return undecided(err)
		}
		defer func() { err = errors.Join(err, k.Close()) }()
		out := &judged{V: 1, Ignored: []string{}}
		if err := j.judge(cmd, k, out); err != nil {
			return err
		}
		return j.show(cmd, out)
	})
}

// loggedEvidence fetches evidence from the logs that a monitor follows.
func loggedEvidence(m *monitor.Monitor) platforms.Evidence {
	return func(ctx context.Context, origin string, digest poclog.Digest) ([]byte, error) {
		cl, err := m.Client(ctx, origin)
		if err != nil {
			return nil, err
		}
		return cl.Evidence(ctx, poclog.Blob{SHA256: digest})
	}
}

// judge learns what is new, and judges by files or by what the manufacturers publish now.
func (j *judgeCmd) judge(cmd *cobra.Command, k *platforms.Keeper, out *judged) (err error) {
	if out.Learned, err = k.Learn(cmd.Context()); err != nil {
		return fromLog(err)
	}
	if out.Platforms, out.Without, err = k.Counts(cmd.Context()); err != nil {
		return undecided(err)
	}
	cols, err := j.collateral(cmd, k)
	if err != nil {
		return err
	}
	for _, col := range cols {
		got, err := k.Judge(cmd.Context(), col)
		out.Judged, out.Fallen, out.Alerts = out.Judged+got.Judged, out.Fallen+got.Fallen, out.Alerts+got.Alerts
		out.Ignored = append(out.Ignored, got.Ignored...)
		if err != nil {
			return fromLog(err)
		}
	}
	return nil
}

// collateral reads the files, or asks for what judges each family of platforms. With nothing at all
// the policy's least firmware still judges.
func (j *judgeCmd) collateral(cmd *cobra.Command, k *platforms.Keeper) ([]*poclog.Collateral, error) {
	var cols []*poclog.Collateral
	for _, path := range j.files {
		_, col, err := readCollateral(cmd, path)
		if err != nil {
			return nil, err
		}
		cols = append(cols, col)
	}
	if len(cols) > 0 {
		return cols, nil
	}
	needs, err := j.needs(cmd.Context(), k)
	if err != nil || len(needs) == 0 {
		return []*poclog.Collateral{new(poclog.Collateral)}, err
	}
	return j.ask(cmd, needs)
}

// needs is what judges the kept platforms, family by family: one file has no two pieces of a kind.
func (j *judgeCmd) needs(ctx context.Context, k *platforms.Keeper) (needs [][]collateral.Need, err error) {
	families, err := k.Families(ctx)
	if err != nil {
		return nil, undecided(err)
	}
	for _, f := range families {
		needs = append(needs, []collateral.Need{
			{Key: collateral.Key{Kind: poclog.TDXTCBInfo, For: f.FMSPC}}, {Key: collateral.Key{Kind: poclog.TDXQEIdentity}},
			{Key: collateral.Key{Kind: poclog.IntelPCKCRL, For: f.CA}}, {Key: collateral.Key{Kind: poclog.IntelRootCRL}},
		})
	}
	lists, err := k.AMDLists(ctx)
	if err != nil {
		return nil, undecided(err)
	}
	for _, l := range lists {
		needs = append(needs, []collateral.Need{{Key: collateral.Key{Kind: poclog.AMDCRL, For: l}}})
	}
	return needs, nil
}

// ask asks the manufacturers. What one of them has none of judges nothing.
func (j *judgeCmd) ask(cmd *cobra.Command, needs [][]collateral.Need) (cols []*poclog.Collateral, err error) {
	if j.cacheFlags.dir == "" {
		// Not the one of the commands that fetch for a bundle: what was asked for early there would
		// judge here.
		j.cacheFlags.dir = filepath.Join(j.dir.folder(), "collateral-cache")
	}
	cache, sources, err := j.open(cmd)
	if err != nil {
		return nil, err
	}
	asked := make(map[collateral.Key]bool)
	for _, family := range needs {
		for _, n := range family {
			if !slices.ContainsFunc(sources, func(s collateral.Source) bool { return s.Has(n.Key) }) {
				return nil, hint(usagef("nobody to ask for %s", n.Key), "--pcs and --kds say whom; --collateral gives a file")
			}
			if asked[n.Key] {
				continue
			}
			asked[n.Key] = true
			if err := cache.Refresh(cmd.Context(), []collateral.Need{n}); err != nil && !errors.Is(err, collateral.ErrNone) {
				return nil, undecided(err)
			}
		}
		cols = append(cols, cache.Collateral(family))
	}
	return cols, nil
}

func (j *judgeCmd) show(cmd *cobra.Command, out *judged) error {
	if j.asJSON {
		if err := printJSON(cmd.OutOrStdout(), out); err != nil {
			return undecided(err)
		}
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%s, %d of them new, %d without evidence: %s, %d fallen or revoked\n",
			counted(out.Platforms, "chip", "chips"), out.Learned, out.Without, counted(out.Judged, "judgement", "judgements"), out.Fallen)
		for _, why := range out.Ignored {
			fmt.Fprintf(cmd.OutOrStdout(), "ignored: %s\n", why)
		}
	}
	if out.Alerts > 0 {
		return hint(fmt.Errorf("%s", counted(out.Alerts, "new alert", "new alerts")), "poclog monitor list alerts shows them")
	}
	return nil
}
