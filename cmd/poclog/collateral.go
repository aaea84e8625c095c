package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
)

func newCollateralCmd() *cobra.Command {
	c := &cobra.Command{Use: "collateral", Short: "What manufacturers publish to judge evidence: fetch it, look at it"}
	c.AddCommand(newCollateralFetchCmd(), newCollateralAddCmd(), newCollateralShowCmd())
	return c
}

// off turns a source off.
const off = "off"

// A sourceFlags says where collateral comes from.
type sourceFlags struct{ pcs, kds, launch string }

func (f *sourceFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.pcs, "pcs", "", `Intel's PCS or a PCCS, "off" for none (default for the realm production: `+collateral.IntelPCS+")")
	c.Flags().StringVar(&f.kds, "kds", "", `AMD's KDS or a mirror of it, "off" for none (default for the realm production: `+collateral.AMDKDS+")")
	c.Flags().StringVar(&f.launch, "launch-endorsements", "", `bucket of Google's launch endorsements, "off" for none (default for the realm production: `+collateral.GoogleBucket+")")
}

// sources returns those that are on. A laboratory's manufacturer has no address of its own.
func (f *sourceFlags) sources(p *poclog.Policy) ([]collateral.Source, error) {
	var out []collateral.Source
	for _, x := range []struct {
		flag, value, production string
		open                    func(url string) (collateral.Source, error)
	}{
		{"pcs", f.pcs, collateral.IntelPCS, func(url string) (collateral.Source, error) {
			return collateral.NewIntel(url, p.RootsFor(poclog.RootIntelSGX))
		}},
		{"kds", f.kds, collateral.AMDKDS, func(url string) (collateral.Source, error) {
			return collateral.NewAMD(url, p.RootsFor(poclog.RootAMDARK))
		}},
		{"launch-endorsements", f.launch, collateral.GoogleBucket, func(url string) (collateral.Source, error) { return collateral.NewGoogle(url, p) }},
	} {
		url := f.or(x.value, x.production, p)
		if url == off {
			continue
		}
		s, err := x.open(url)
		if err != nil {
			return nil, usagef("--%s: %w", x.flag, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func (f *sourceFlags) or(flag, production string, p *poclog.Policy) string {
	switch {
	case flag != "":
		return flag
	case p.Realm == poclog.Production:
		return production
	}
	return off
}

// A cacheFlags opens a cache of collateral.
type cacheFlags struct {
	sourceFlags
	dir, policy string
}

func (f *cacheFlags) register(c *cobra.Command) {
	f.sourceFlags.register(c)
	f.registerCache(c)
}

func (f *cacheFlags) registerCache(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "cache-dir", "", "the cache's folder (default: in the XDG cache folder)")
	c.Flags().StringVar(&f.policy, "appraisal", "", "appraisal policy that lists the roots (default: those of the realm production)")
}

func (f *cacheFlags) readPolicy(cmd *cobra.Command) (*poclog.Policy, error) {
	_, p, err := readAppraisal(cmd, f.policy)
	return p, err
}

func (f *cacheFlags) open(cmd *cobra.Command) (*collateral.Cache, []collateral.Source, error) {
	p, err := f.readPolicy(cmd)
	if err != nil {
		return nil, nil, err
	}
	sources, err := f.sources(p)
	if err != nil {
		return nil, nil, err
	}
	c, err := collateral.Open(f.folder(), collateral.Config{UserAgent: softwareName(), Patience: patience(cmd)}, sources...)
	if err != nil {
		return nil, nil, undecided(err)
	}
	return c, sources, nil
}

// commandPatience is how long a command waits for one answer in all, where a server asks it to.
const commandPatience = 3 * time.Minute

// patience says on standard error why a command waits.
func patience(cmd *cobra.Command) collateral.Patience {
	return collateral.Patience{For: commandPatience, Told: func(host string, wait time.Duration) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s asks to be asked later: waiting %s\n", host, wait)
	}}
}

func (f *cacheFlags) folder() string {
	return cmp.Or(f.dir, filepath.Join(xdg("XDG_CACHE_HOME", ".cache"), "poclog", "collateral"))
}

type collateralFetchCmd struct {
	cacheFlags
	out       output
	fmspc, ca string
	refresh   bool
}

func newCollateralFetchCmd() *cobra.Command {
	f := new(collateralFetchCmd)
	c := &cobra.Command{
		Use:   "fetch [BUNDLE]",
		Short: "Fetch what judges a bundle, or a platform",
		Long: "Fetch what the manufacturer and the provider publish to judge a bundle, or platforms of an FMSPC. Every answer is verified; what is kept\n" +
			"and still valid is not asked for again unless --refresh is given, and nothing older than what was seen before is taken.",
		Example: "  poclog collateral fetch vm.bundle.json -o vm.collateral.json\n  poclog collateral fetch --fmspc 00806f050000 -o platform.collateral.json",
		Args:    cobra.MaximumNArgs(1),
		RunE:    f.run,
	}
	f.register(c)
	f.out.flags(c, "collateral")
	c.Flags().StringVar(&f.fmspc, "fmspc", "", "the platform's FMSPC, 12 hexadecimal digits")
	c.Flags().StringVar(&f.ca, "ca", "platform", "with --fmspc: the PCK certificates' CA, platform or processor")
	c.Flags().BoolVar(&f.refresh, "refresh", false, "ask also for what is kept and valid")
	return c
}

func (f *collateralFetchCmd) run(cmd *cobra.Command, args []string) error {
	if (len(args) == 1) == (f.fmspc != "") {
		return usagef("say what for: a bundle, or --fmspc")
	}
	if err := f.used(cmd); err != nil {
		return err
	}
	if err := f.out.check(); err != nil {
		return err
	}
	c, sources, err := f.open(cmd)
	if err != nil {
		return err
	}
	needs, err := f.needs(cmd, args, c, sources)
	if err != nil {
		return err
	}
	fetch := c.FetchAll
	if f.refresh {
		fetch = c.Refresh
	}
	if err := fetch(cmd.Context(), needs); err != nil && !errors.Is(err, collateral.ErrNone) {
		return undecided(err)
	}
	got := c.Collateral(needs)
	if len(got.Items) < len(needs) {
		return fmt.Errorf("%d of %d pieces: the issuer has no more", len(got.Items), len(needs))
	}
	return f.out.keep(cmd, got)
}

// used refuses flags of what is not asked.
func (f *collateralFetchCmd) used(cmd *cobra.Command) error {
	if f.fmspc != "" {
		return unused(cmd, "an FMSPC is Intel's alone", "kds", "launch-endorsements")
	}
	return unused(cmd, "without --fmspc the bundle says which", "ca")
}

func (f *collateralFetchCmd) needs(cmd *cobra.Command, args []string, c *collateral.Cache, sources []collateral.Source) ([]collateral.Need, error) {
	if f.fmspc != "" {
		for _, s := range sources {
			if intel, ok := s.(*collateral.Intel); ok {
				needs, err := intel.FMSPCNeeds(f.fmspc, f.ca)
				if err != nil {
					return nil, usagef("%w", err)
				}
				return needs, nil
			}
		}
		return nil, hint(usagef("nobody to ask"), "--pcs says whom")
	}
	b, err := readBundle(cmd, args[0])
	if err != nil {
		return nil, err
	}
	needs := c.Needs(b)
	if len(needs) == 0 {
		return nil, hint(fmt.Errorf("%s: nobody to ask for what judges it", args[0]), "--pcs and --kds say whom; the default is for the realm production")
	}
	return needs, nil
}

type collateralShowCmd struct {
	cacheFlags
	cached bool
	asJSON bool
}

func newCollateralShowCmd() *cobra.Command {
	s := new(collateralShowCmd)
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show what collateral is, and until when",
		Long: "Show the items of a collateral file, or with --cache what the cache holds: kind, issuer, times, numbers and days left. Exit status 1: something\n" +
			"is expired, not yet valid or not authentic.",
		Example: "  poclog collateral show vm.collateral.json\n  poclog collateral show --cache --json",
		Args:    cobra.MaximumNArgs(1),
		RunE:    s.run,
	}
	s.register(c)
	c.Flags().BoolVar(&s.cached, "cache", false, "show what the cache holds")
	c.Flags().BoolVar(&s.asJSON, "json", false, "print JSON")
	return c
}

func (s *collateralShowCmd) run(cmd *cobra.Command, args []string) error {
	if (len(args) == 1) == s.cached {
		return usagef("say what to show: a file, or --cache")
	}
	if !s.cached {
		if err := unused(cmd, "without --cache nobody is asked and no cache is read", "pcs", "kds", "launch-endorsements", "cache-dir"); err != nil {
			return err
		}
	}
	states, err := s.states(cmd, args)
	if err != nil {
		return err
	}
	if s.asJSON {
		if err := printJSON(cmd.OutOrStdout(), struct {
			V     int                      `json:"v"`
			Items []poclog.CollateralState `json:"items"`
		}{1, states}); err != nil {
			return err
		}
	} else {
		printCollateral(cmd.OutOrStdout(), states)
	}
	bad := 0
	for _, st := range states {
		if !st.Valid {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d pieces are of no use now", bad, len(states))
	}
	return nil
}

func (s *collateralShowCmd) states(cmd *cobra.Command, args []string) ([]poclog.CollateralState, error) {
	if s.cached {
		c, _, err := s.open(cmd)
		if err != nil {
			return nil, err
		}
		return c.State(), nil
	}
	p, err := s.readPolicy(cmd)
	if err != nil {
		return nil, err
	}
	_, c, err := readCollateral(cmd, args[0])
	if err != nil {
		return nil, err
	}
	return collateral.Describe(c, p, time.Now()), nil
}

func printCollateral(w io.Writer, states []poclog.CollateralState) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KIND\tFOR\tISSUER\tISSUED\tNEXT UPDATE\tEVALUATION\tCRL\tDAYS LEFT")
	for _, st := range states {
		if st.NextUpdate.IsZero() {
			fmt.Fprintf(tw, "%s\t%.16s\t%s\n", st.Kind, st.For, st.Error)
			continue
		}
		fmt.Fprintf(tw, "%s\t%.16s\t%s\t%s\t%s\t%s\t%s\t%.1f\n", st.Kind, dash(st.For), st.Issuer, st.Issued.Format(time.DateOnly), st.NextUpdate.Format(time.DateOnly),
			dash(st.Evaluation), dash(st.CRLNumber), st.DaysLeft)
	}
	_ = tw.Flush() // standard output may be gone
}

func dash(s string) string { return cmp.Or(s, "-") }

// A logCollateral says how a log comes by collateral.
type logCollateral struct {
	sourceFlags
	dir     string
	refresh time.Duration
}

func (f *logCollateral) register(c *cobra.Command) {
	f.sourceFlags.register(c)
	c.Flags().StringVar(&f.dir, "collateral-cache", "", "where collateral is kept (default: DIR/collateral)")
	c.Flags().DurationVar(&f.refresh, "collateral-refresh", collateral.DefaultRefresh, "time between two questions for collateral that is still valid")
}

// open opens the cache of the log in dir, or returns nil where all sources are off.
func (f *logCollateral) open(dir string, logger *slog.Logger) (*collateral.Cache, error) {
	file, err := os.ReadFile(filepath.Join(dir, "appraisal.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // log.Open says what is missing
	}
	if err != nil {
		return nil, undecided(err)
	}
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return nil, fmt.Errorf("appraisal.json: %w", err)
	}
	sources, err := f.sources(p)
	if err != nil || len(sources) == 0 {
		return nil, err
	}
	c, err := collateral.Open(cmp.Or(f.dir, filepath.Join(dir, "collateral")), collateral.Config{Refresh: f.refresh, UserAgent: softwareName(), Logger: logger}, sources...)
	if err != nil {
		return nil, undecided(err)
	}
	return c, nil
}
