package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

func newPolicyCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Say whose signatures count: make, change and read a tlog-policy",
		Long: "A tlog-policy (https://c2sp.org/tlog-policy) says which logs you accept, which witnesses must have seen their checkpoints, and who your\n" +
			"auditors are. These commands take keys from the addresses of logs, witnesses and auditors, and show a fingerprint to compare.",
	}
	c.AddCommand(newPolicyShowCmd(), newPolicyCheckCmd(), newPolicyAddLogCmd(), newPolicyAddWitnessCmd(), newPolicyAddAuditorCmd(), newPolicyQuorumCmd())
	return c
}

func newPolicyShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "show [FILE]",
		Short:   "Say in words whom a policy trusts",
		Example: "  poclog policy show policy.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readTlogPolicy(cmd, strings.Join(args, ""))
			if err == nil {
				describePolicy(cmd.OutOrStdout(), p)
			}
			return err
		},
	}
}

func newPolicyCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Find traps in a policy: one witness that counts twice, one outage that stops all, no auditor",
		Example: "  poclog policy check policy.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readTlogPolicy(cmd, strings.Join(args, ""))
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			for _, why := range policyNotes(p) {
				labelled(w, "note: ", why)
			}
			if err := countsTwice(p); err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "ok: %s\n", p.QuorumWords())
			return err
		},
	}
}

// policyNotes are what an operator should know of a policy that is no mistake.
func policyNotes(p *tlogpolicy.Policy) (notes []string) {
	if p.Quorum() == tlogpolicy.None {
		notes = append(notes, "no witness is needed: a receipt shows an order, no time, and the log may show others another history")
	}
	for _, name := range p.SinglePointsOfFailure() {
		notes = append(notes, fmt.Sprintf("without %s no checkpoint meets the quorum: an outage of it stops the log", name))
	}
	if !p.Has(receiptAuditGroup) {
		notes = append(notes, "there is no auditor: nothing is ever more than logged. poclog policy add-auditor FILE URL names one")
	}
	return notes
}

// countsTwice refuses a policy in which a threshold counts one witness twice.
func countsTwice(p *tlogpolicy.Policy) error {
	for _, d := range p.DoubleCounts() {
		return hint(fmt.Errorf("group %q wants %d and counts %s %d times (%s): one witness must not count twice", d.Group, d.Threshold, d.KeyName, len(d.Members), strings.Join(d.Members, ", ")),
			"give it a group of its own, of which any key is enough: group %s any %s; poclog policy add-witness and quorum write it so", lastPart(d.KeyName), strings.Join(d.Members, " "))
	}
	return nil
}

// describePolicy says in words whom a policy trusts.
func describePolicy(w io.Writer, p *tlogpolicy.Policy) {
	var logs []string
	for _, l := range p.Logs() {
		if !slices.Contains(logs, l.Origin) {
			logs = append(logs, l.Origin)
			field(w, "log", "%s%s", l.Origin, atURL(l.URL))
			field(w, "", "%s", fingerprint(logKeys(p, l.Origin)))
		}
	}
	var names []string
	for _, x := range p.Witnesses() {
		if slices.Contains(names, x.KeyName) || strings.HasSuffix(x.KeyName, exceptSuffix) {
			continue
		}
		names = append(names, x.KeyName)
		role := "witness"
		if p.Has(receiptAuditGroup) && p.Contains(receiptAuditGroup, x.Name) {
			role = "auditor"
		}
		field(w, role, "%s%s", x.KeyName, atURL(x.URL))
		field(w, "", "%s", fingerprint(witnessKeys(p, x.KeyName)))
	}
	field(w, "quorum", "%s", p.QuorumWords())
	if p.Has(receiptAuditGroup) {
		field(w, "audited", "%s", p.Words(receiptAuditGroup))
	}
}

func atURL(url string) string {
	if url == "" {
		return ""
	}
	return " at " + url
}

func logKeys(p *tlogpolicy.Policy, origin string) (keys []string) {
	for _, l := range p.Logs() {
		if l.Origin == origin {
			keys = append(keys, l.VKey)
		}
	}
	return keys
}

// witnessKeys are the keys of a name, and of the auditor's name for exceptions.
func witnessKeys(p *tlogpolicy.Policy, name string) (keys []string) {
	for _, x := range p.Witnesses() {
		if strings.TrimSuffix(x.KeyName, exceptSuffix) == name {
			keys = append(keys, x.VKey)
		}
	}
	return keys
}

// maxKeys is the length of a list of keys, or of a policy, that an address may answer.
const maxKeys = tlogpolicy.MaxPolicy

// keyAnswerTime is how long an address has to answer its keys.
const keyAnswerTime = 30 * time.Second

// fetchText gets a small text from an address.
func fetchText(cmd *cobra.Command, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), keyAnswerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, usagef("%w", err)
	}
	req.Header.Set("User-Agent", softwareName())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, undecided(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	switch {
	case err != nil:
		return nil, undecided(fmt.Errorf("%s: %w", url, err))
	case resp.StatusCode != http.StatusOK:
		return nil, undecided(fmt.Errorf("%s answers %s", url, resp.Status))
	case len(b) > maxKeys:
		return nil, undecided(fmt.Errorf("%s answers over %d bytes", url, maxKeys))
	}
	return b, nil
}
