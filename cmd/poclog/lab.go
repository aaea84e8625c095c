package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
)

func newLabCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "A synthetic cloud, for trying and testing",
		Long: "Synthetic chip makers and clouds that mint evidence of confidential VMs by the thousand. Only the realm lab accepts it. It is a function of\n" +
			"its seed: nothing secret is in it.",
	}
	c.AddCommand(newLabUpCmd(), newLabProveCmd(), newLabEndorseCmd(), newLabRegistryCmd(), newLabAttackCmd())
	return c
}

// A laboratory is what DIR/lab.json says; the cloud is rebuilt from it by each command. Its VMs
// booted once, when it began, and their TPMs' clocks show the time since then: a command continues
// what an earlier one showed.
type laboratory struct {
	V       int       `json:"v"`
	Seed    string    `json:"seed"`
	Chassis int       `json:"chassis"`
	VMs     int       `json:"vms"`
	From    time.Time `json:"from"` // since when its certificates are valid, and its TPMs run

	Profile poclog.Profile `json:"profile"` // of the VMs
}

const labFile = "lab.json"

// Limits of a laboratory.
const (
	maxChassis = 10_000
	maxVMs     = 100_000
)

func (l *laboratory) check() error {
	if l.V != 1 || l.Chassis < 1 || l.Chassis > maxChassis || l.VMs < 1 || l.VMs > maxVMs {
		return fmt.Errorf("laboratory of version %d with %d chassis and %d VMs: want version 1, 1 to %d, and 1 to %d", l.V, l.Chassis, l.VMs, maxChassis, maxVMs)
	}
	if fleets[l.Profile] == nil {
		return fmt.Errorf("laboratory of profile %q: want one of %s", l.Profile, strings.Join(fleetNames(), ", "))
	}
	return nil
}

func openLab(dir string) (*laboratory, *fleet, error) {
	b, err := os.ReadFile(filepath.Join(dir, labFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, hint(undecided(fmt.Errorf("%s is no laboratory", dir)), "`poclog lab up %s` makes one", dir)
	}
	if err != nil {
		return nil, nil, undecided(err)
	}
	l := &laboratory{Profile: poclog.GCETDXvTPM} // before there were others
	if err := json.Unmarshal(b, l); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", labFile, err)
	}
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	f, err := l.build()
	return l, f, err
}

func newLabUpCmd() *cobra.Command {
	l := laboratory{V: 1}
	var profile string
	var registry string
	var endorsers bool
	c := &cobra.Command{
		Use:   "up DIR",
		Short: "Make a laboratory and the appraisal policy that trusts it",
		Long: "Make a laboratory in DIR: lab.json, and appraisal.json, an appraisal policy of realm lab that trusts it. A log is made with it by\n" +
			"`poclog log init LOG --origin NAME --appraisal DIR/appraisal.json`.",
		Example: "  poclog lab up mylab --chassis 4 --vms 16 --seed demo\n  poclog lab up myfleet --profile azure-snp-vtpm",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Profile = poclog.Profile(profile)
			return labUp(cmd, args[0], &l, registry, endorsers)
		},
	}
	c.Flags().IntVar(&l.Chassis, "chassis", 4, "machines, over the cloud's zones")
	c.Flags().IntVar(&l.VMs, "vms", 8, "confidential VMs, over the machines")
	c.Flags().StringVar(&l.Seed, "seed", "laboratory", "what everything is derived from")
	c.Flags().StringVar(&profile, "profile", string(poclog.GCETDXvTPM), "what kind of VMs: "+strings.Join(fleetNames(), ", "))
	c.Flags().StringVar(&registry, "registry", "", "where poclog lab registry will answer, for the policy")
	c.Flags().BoolVar(&endorsers, "endorsers", false, "have the policy ask a registry of hardware and the machines' owner (poclog lab endorse)")
	return c
}

func labUp(cmd *cobra.Command, dir string, l *laboratory, registry string, endorsers bool) error {
	l.From = time.Now().UTC().AddDate(-1, 0, 0).Truncate(24 * time.Hour)
	if err := l.check(); err != nil {
		return usagef("%w", err)
	}
	f, err := l.build()
	if err != nil {
		return err
	}
	appraisal := f.policy(registry)
	if endorsers {
		l.ask(appraisal)
	}
	policy, err := appraisal.Marshal()
	if err != nil {
		return err
	}
	file, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return undecided(err)
	}
	for name, b := range map[string][]byte{labFile: append(file, '\n'), "appraisal.json": policy} {
		out := output{path: filepath.Join(dir, name), fixed: true}
		if err := out.write(cmd, b); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "laboratory %s of %s: %d chassis, %d VMs\n", dir, l.Profile, l.Chassis, l.VMs)
	return nil
}

type labProveCmd struct {
	logFlags
	count int
	clone bool
	out   string
}

func newLabProveCmd() *cobra.Command {
	p := new(labProveCmd)
	c := &cobra.Command{
		Use:   "prove DIR",
		Short: "Have the laboratory's VMs answer a log's challenges",
		Long:  "Have the VMs of a laboratory answer challenges of a log, one after another: bundles, and the collateral that judges them, in a folder.",
		Example: "  poclog lab prove mylab --log http://127.0.0.1:8080 --policy mylog/policy.txt --count 100 -o bundles\n" +
			"  poclog lab prove mylab --policy mylog/policy.txt --clone -o stolen",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd, args[0]) },
	}
	p.register(c)
	c.Flags().IntVar(&p.count, "count", 1, "how many proofs")
	c.Flags().BoolVar(&p.clone, "clone", false, "one proof by an attacker: the first VM's chip, claimed in another place (on Azure: its TPM, on another chip)")
	c.Flags().StringVarP(&p.out, "output", "o", "bundles", "folder for the bundles")
	return c
}

func (p *labProveCmd) run(cmd *cobra.Command, dir string) error {
	if p.count < 1 || p.clone && p.count > 1 {
		return usagef("--count %d: want at least 1, and no more with --clone", p.count)
	}
	l, f, err := openLab(dir)
	if err != nil {
		return err
	}
	cl, err := p.client(cmd)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return undecided(err)
	}
	file, err := f.collateral(time.Now().UTC().AddDate(0, 0, -1)).Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.out, "lab.collateral.json"), file, 0o644); err != nil {
		return undecided(err)
	}
	report, answer := progress(cmd, "proofs"), f.prove
	if p.clone {
		answer = func(_ int, ch *poclog.Challenge) (*poclog.Bundle, error) { return f.clone(ch) }
	}
	for i := range p.count {
		ch, err := cl.Challenge(cmd.Context(), l.Profile, poclog.Sum(nil))
		if err != nil {
			return fromLog(err)
		}
		b, err := answer(i, ch)
		if err != nil {
			return err
		}
		if file, err = b.Marshal(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.out, fmt.Sprintf("%06d.bundle.json", i)), file, 0o644); err != nil {
			return undecided(err)
		}
		report(uint64(i+1), uint64(p.count))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s and lab.collateral.json in %s; send each with: poclog submit --collateral %s\n", counted(p.count, "bundle", "bundles"), p.out,
		filepath.Join(p.out, "lab.collateral.json"))
	return nil
}

func newLabRegistryCmd() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "registry DIR",
		Short: "Serve the laboratory cloud's register of its chips, and what its manufacturer and provider publish",
		Long: "Serve the laboratory cloud's register of its chips, its chip makers' PCS and KDS, and its provider's bucket of launch endorsements: a log asks them\n" +
			"with `--pcs URL --kds URL --launch-endorsements URL`.",
		Example: "  poclog lab registry mylab --listen 127.0.0.1:8090",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, f, err := openLab(args[0])
			if err != nil {
				return err
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return undecided(err)
			}
			srv := &http.Server{Handler: f.publish, ReadHeaderTimeout: 10 * time.Second}
			go func() { <-cmd.Context().Done(); srv.Close() }()
			fmt.Fprintf(cmd.ErrOrStderr(), "serving %d chassis on http://%s/\n", lab.Chassis, l.Addr())
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return undecided(err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address to listen on")
	return c
}
