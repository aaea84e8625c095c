package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// alliance is the registry that vouches for the laboratory's machines.
func (l *laboratory) alliance() *endorser.Alliance {
	return endorser.NewAlliance(l.Seed, "alliance.lab")
}

// owner is whose they are.
func (l *laboratory) owner() *endorser.Owner { return endorser.NewOwner(l.Seed, "owner.lab", l.From) }

// ask has a policy list both.
func (l *laboratory) ask(p *poclog.Policy) {
	p.Alliances = []poclog.Alliance{l.alliance().Policy()}
	p.Roots = append(p.Roots, l.owner().Policy())
	slices.SortFunc(p.Roots, func(a, b poclog.Root) int {
		return bytes.Compare(append([]byte(a.Use), a.SHA256[:]...), append([]byte(b.Use), b.SHA256[:]...))
	})
}

func newLabEndorseCmd() *cobra.Command {
	var label, out string
	c := &cobra.Command{
		Use:   "endorse DIR BUNDLE",
		Short: "Have a registry and the owner vouch for a bundle's machine",
		Long: "Have the laboratory's registry of hardware sign a token on a bundle's TEE quote, and the owner of its machines endorse the platform: token.jwt and,\n" +
			"for TDX, owner.cbor in a folder. `poclog collateral add` puts them into a collateral file; a policy of `poclog lab up --endorsers` asks for them.",
		Example: "  poclog lab endorse mylab bundles/000000.bundle.json -o endorsed\n" +
			"  poclog collateral add bundles/lab.collateral.json --alliance-token endorsed/token.jwt --owner-endorsement endorsed/owner.cbor -o all.collateral.json",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return labEndorse(cmd, args[0], args[1], label, out) },
	}
	c.Flags().StringVar(&label, "label", "a laboratory", "the registry's label of the machine")
	c.Flags().StringVarP(&out, "output", "o", "endorsed", "folder for what is signed")
	return c
}

func labEndorse(cmd *cobra.Command, dir, path, label, out string) error {
	if !poclog.CanSay(label) || bytes.ContainsAny([]byte(label), `"\`) {
		return usagef("--label %q: want 1 to 255 bytes of printable ASCII without quotes and backslashes", label)
	}
	l, _, err := openLab(dir)
	if err != nil {
		return err
	}
	b, err := readBundle(cmd, path)
	if err != nil {
		return err
	}
	signed := make(map[string][]byte)
	now := time.Now().UTC().Truncate(time.Second)
	if report := b.Get(poclog.ItemSNPReport); len(report) > 0 {
		r, err := snp.ParseReport(report)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		signed["token.jwt"] = l.alliance().Token(report, r.ChipID[:], label, now)
	} else {
		quote := b.Get(poclog.ItemTDXQuote)
		q, err := tdx.ParseQuote(quote)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		signed["token.jwt"] = l.alliance().Token(quote, q.Platform.PPID[:], label, now)
		signed["owner.cbor"] = l.owner().Endorse(l.owner().Statement(q.Platform.PIID[:], now.AddDate(0, -1, 0))).Body
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return undecided(err)
	}
	for name, b := range signed {
		if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
			return undecided(err)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "registry %s, owner %s (root %s): signed in %s\n", l.alliance().Key(), l.owner().Name, l.owner().Policy().SHA256, out)
	return nil
}
