package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
	"github.com/poclog/poclog/verify/vouch/alliance"
	"github.com/poclog/poclog/verify/vouch/poe"
)

// consent shows what becomes public, for good, in lines, and asks. to is the log's URL, or empty where the bundle is only written.
func consent(cmd *cobra.Command, yes bool, to string, lines []string) error {
	w := cmd.ErrOrStderr()
	if to != "" {
		fmt.Fprintf(w, "To be published by %s, for good:\n", to)
	} else {
		fmt.Fprintln(w, "The bundle tells everybody to whom it is given, and everybody for good once a log has it:")
	}
	for _, line := range lines {
		fmt.Fprintln(w, "  "+line)
	}
	if yes {
		return nil
	}
	if err := canAsk(cmd); err != nil {
		return err
	}
	question := "Publish?"
	if to == "" {
		question = "Write it?"
	}
	fmt.Fprint(w, question+" [y/N] ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil {
		return undecided(err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("not published")
	}
	return nil
}

// canAsk refuses where nobody can answer.
func canAsk(cmd *cobra.Command) error {
	if f, ok := cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return hint(usagef("there is no terminal to ask"), "--yes publishes without asking")
	}
	return nil
}

// disclosure lists what a bundle tells the world, as far as it can be read without judging it.
func disclosure(bundle []byte) []string {
	b, err := poclog.ParseBundle(bundle)
	if err != nil {
		return nil
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if p, err := profile.Of(b); err == nil {
		add("profile %s, %d bytes of evidence: %s", p, len(bundle), itemNames(b))
	}
	if q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote)); err == nil {
		for _, id := range q.Platform.Identities() {
			add("chip: %s", id)
		}
		add("launch measurement: %x", q.Body.MRTD)
	}
	if r, err := snp.ParseReport(b.Get(poclog.ItemSNPReport)); err == nil {
		if c, err := snp.ParseChain(b.Get(poclog.ItemSNPCerts)); err == nil {
			if id, ok := c.ChipID(r); ok {
				add("chip: %s", id)
			}
		}
		add("launch measurement: %x", r.Measurement)
	}
	if chain, err := tpm.ParseChain(b.Get(poclog.ItemTPMAKChain)); err == nil {
		add("attestation key of: %s", chain[0].Subject)
		if g, err := tpm.ParseGCEInstance(chain[0]); err == nil {
			add("instance %q (%d) of project %q (%d) in %s", g.InstanceName, g.InstanceID, g.ProjectID, g.ProjectNumber, g.Zone)
		}
	}
	if h, err := tpm.ParseHCL(b.Get(poclog.ItemHCLReport)); err == nil {
		add("Azure VM: %s", h.VMUniqueID)
	}
	if b.Has(poclog.ItemTCGLog) || b.Has(poclog.ItemCCEL) {
		add("the boot's event logs, kernel command line included")
	}
	return lines
}

// vouched lists what endorsements beside a bundle tell the world.
func vouched(collateral []byte) (lines []string) {
	if len(collateral) == 0 {
		return nil
	}
	c, err := poclog.ParseCollateral(collateral)
	if err != nil {
		return nil
	}
	for _, it := range c.All(poclog.AllianceToken) {
		if t, err := alliance.Parse(it.Body); err == nil {
			lines = append(lines, fmt.Sprintf("a registry's label of the machine: %q", t.Label))
		}
	}
	for _, it := range c.All(poclog.OwnerEndorsement) {
		if e, err := poe.Parse(it.Body); err == nil {
			lines = append(lines, fmt.Sprintf("the platform's owner: %q", e.Owner))
		}
	}
	return lines
}

func itemNames(b *poclog.Bundle) string {
	var names []string
	for _, i := range b.Items() {
		names = append(names, string(i))
	}
	return strings.Join(names, ", ")
}
