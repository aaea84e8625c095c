package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

type verifyCmd struct {
	demandFlags
	dossierFlags
	policy string
	at     string
	limits rule.Limits
	asJSON bool
}

func newVerifyCmd() *cobra.Command {
	v := new(verifyCmd)
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt, a dossier, a bundle, its submission or envelope, a contradiction or a split view, offline",
		Long: "Check a receipt under your tlog-policy, or appraise a bundle under an appraisal policy. Nothing is fetched, nobody is asked.\n" +
			"A flag that has no effect on the kind of file is wrong usage. Of a submission, what the publisher could have written himself is refused: unsigned\n" +
			"collateral and, beside a challenge, a time of judgement. --collateral and --at are yours.\n\n" +
			"Of a contradiction, the receipts are checked, the appraisals repeated and the monitor's rule run again: 0 says that its entries cannot all\n" +
			"be honest. Of a split view, that the log signed two histories. Of a dossier, that nothing which names its identities is left out;\n" +
			"--dossier clears a receipt by one.\n\n" +
			"Safe defaults: realm production and level 2 (every required check of a profile that binds the VM to its place). Exit status 0 is\n" +
			"yes, 1 no, 2 wrong usage (no policy is one), 3 could not decide.",
		Example: "  poclog verify vm.tlog-proof --policy policy.txt --place gce/us-central1-a --max-age 10m\n" +
			"  poclog verify vm.bundle.json --collateral intel.collateral.json --at 2026-06-08T12:42:41Z --level 0\n" +
			"  poclog verify clone-ak.contradiction.json --policy policy.txt",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, args[0]) },
	}
	v.demandFlags.register(c)
	v.dossierFlags.register(c)
	c.Flags().StringVar(&v.policy, "policy", "", "tlog-policy: whose signatures count")
	c.Flags().StringVar(&v.at, "at", "", "a bundle: judge it at this time, RFC 3339 (default: now)")
	c.Flags().DurationVar(&v.limits.MoveTime, "move-time", rule.DefaultMoveTime, "a contradiction: the least time in which a machine is moved to another place")
	c.Flags().DurationVar(&v.limits.SwapTime, "swap-time", rule.DefaultSwapTime, "a contradiction: the least time in which a machine's TPM is replaced")
	c.Flags().BoolVar(&v.asJSON, "json", false, "print JSON")
	return c
}

// Beginnings of the files that are recognised.
const (
	receiptStart       = "c2sp.org/tlog-proof@"
	bundleStart        = `{"__cmwc_t":`
	submissionStart    = `{"v":1,"bundle":`
	splitViewStart     = `{"v":1,"origin":`
	contradictionStart = `{"v":1,"rule":`
)

func (v *verifyCmd) run(cmd *cobra.Command, path string) error {
	file, err := readFile(cmd, path, poclog.MaxDossier)
	if err != nil {
		return err
	}
	for _, k := range v.kinds() {
		if !k.is(file) {
			continue
		}
		if err := usedOnly(cmd, k.name+" cannot answer that", slices.Concat([]string{"json"}, k.flags)...); err != nil {
			return err
		}
		d, err := v.demandFlags.demands(cmd)
		if err != nil {
			return err
		}
		return k.check(cmd, file, d)
	}
	err = errors.New("neither a receipt, a dossier, a bundle, its submission or envelope, a contradiction nor a split view")
	if is := importer.KindOf(file); whatToDoWith[is] != "" {
		return hint(fmt.Errorf("%s: it is %s, and %w", path, is, err), "%s", whatToDoWith[is])
	}
	return hint(fmt.Errorf("%s: %w", path, err), "`poclog import` makes bundles of other tools' evidence")
}

// A fileKind is a kind of file that can be checked, and the flags that have an effect on how.
// Others would be demands that it cannot answer.
type fileKind struct {
	is    func(file []byte) bool
	name  string
	flags []string
	check func(*cobra.Command, []byte, receipt.Demands) error
}

// Flags of kinds of files.
var (
	// Demands on what an entry says, and how it is appraised.
	entryFlags = []string{
		"profile", "level", "realm", "place", "chassis", "require", "owner", "endorsed-by", "tcb", "publisher", "appraisal-digest", "measurement", "user-data",
		"collateral", "appraisal",
	}
	submissionFlags = slices.Concat(entryFlags, []string{"at"})
	bundleFlags     = slices.Concat(submissionFlags, []string{"envelope"})
	receiptFlags    = slices.Concat(entryFlags, dossierDemands,
		[]string{"policy", "verdict", "audit-group", "max-age", "max-checkpoint-age", "max-interval", "bundle", "envelope", "quote", "dossier"})
	// Demands on dossiers, also on those that are to clear a receipt.
	dossierDemands     = []string{"since", "covers", "move-time", "swap-time"}
	dossierFileFlags   = slices.Concat(dossierDemands, []string{"policy", "verdict", "audit-group", "max-age", "realm"})
	contradictionFlags = []string{"policy", "realm", "audit-group", "move-time", "swap-time"}
)

func (v *verifyCmd) kinds() []fileKind {
	begins := func(with string) func([]byte) bool {
		return func(file []byte) bool { return bytes.HasPrefix(file, []byte(with)) }
	}
	return []fileKind{
		{begins(receiptStart), "a receipt", receiptFlags, v.receipt},
		{begins(bundleStart), "a bundle", bundleFlags, v.bundle},
		{poclog.IsEnvelope, "an envelope", submissionFlags, v.signed},
		{begins(submissionStart), "a submission", submissionFlags, v.submission},
		{poclog.IsDossier, "a dossier", dossierFileFlags, v.dossier},
		{poclog.IsIndexWrong, "a wrong index", []string{"policy"}, v.indexWrong},
		{begins(splitViewStart), "a split view", []string{"policy"}, v.splitView},
		{begins(contradictionStart), "a contradiction", contradictionFlags, v.contradiction},
	}
}

// A result is what --json prints, whatever the file.
type result struct {
	V       int               `json:"v"`
	OK      bool              `json:"ok"`
	Kind    string            `json:"kind"`            // "receipt", "bundle", "envelope", "submission", "contradiction", "dossier", "index-wrong" or "split-view"
	Check   string            `json:"check,omitempty"` // what refused: a check, a step or a demand
	Detail  string            `json:"detail,omitempty"`
	Verdict *receipt.Verdict  `json:"verdict,omitempty"`
	Entry   json.RawMessage   `json:"entry,omitempty"`
	Notes   map[string]string `json:"notes,omitempty"`

	IndexWrong    *dossier.Wrong                `json:"index_wrong,omitempty"`
	Dossier       *dossier.Answer               `json:"dossier,omitempty"`
	Contradiction *receipt.ContradictionVerdict `json:"contradiction,omitempty"` // of an alert, too, which is not OK
}

// refused prints a refusal as JSON where it was asked for, and returns it.
func (v *verifyCmd) refused(cmd *cobra.Command, r result, err error) error {
	if v.asJSON {
		r.Detail = err.Error()
		var refused *verify.Error
		if errors.As(err, &refused) {
			r.Check, r.Detail = string(refused.Check), refused.Detail
		}
		if perr := printJSON(cmd.OutOrStdout(), r); perr != nil {
			return perr
		}
	}
	return err
}

func (v *verifyCmd) checkAuditGroup(cmd *cobra.Command, policy *tlogpolicy.Policy) error {
	if cmd.Flags().Changed("audit-group") && !policy.Has(v.auditGroup) {
		return usagef("--audit-group %q: the tlog-policy defines no such witness or group", v.auditGroup)
	}
	return nil
}

func (v *verifyCmd) receipt(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	if v.demandFlags.bundle == "" {
		if err := unused(cmd, "without --bundle no appraisal is repeated", "envelope", "collateral", "appraisal"); err != nil {
			return err
		}
	}
	if len(v.dossiers) == 0 {
		if err := unused(cmd, "without --dossier no dossier is asked", dossierDemands...); err != nil {
			return err
		}
	}
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	if err := v.checkAuditGroup(cmd, policy); err != nil {
		return err
	}
	verdict, err := receipt.Check(file, policy, time.Now(), d)
	if err == nil && v.quoteFile != "" {
		err = v.compareQuote(cmd, verdict.Entry)
	}
	if err == nil {
		err = v.cleared(cmd, verdict, &d)
	}
	if err != nil {
		return v.explain(v.refused(cmd, result{V: 1, Kind: "receipt"}, err))
	}
	if v.asJSON {
		return printJSON(cmd.OutOrStdout(), result{V: 1, OK: true, Kind: "receipt", Verdict: verdict, Entry: verdict.Receipt.Entry})
	}
	w := cmd.OutOrStdout()
	printStanding(w, verdict)
	printInterval(w, verdict)
	printEntry(w, verdict.Entry, nil)
	if v.quoteFile != "" {
		fmt.Fprintln(w, "  quote      same chip and launch measurement as the receipt's; this is not yet the same VM: user data shows the key that the proof speaks for")
	}
	return nil
}

// printStanding says on whose word a receipt's verdict stands.
func printStanding(w io.Writer, v *receipt.Verdict) {
	switch v.Verdict {
	case receipt.Logged:
		fmt.Fprintf(w, "yes: logged by %s, entry %d of %d\n", v.Origin, v.Index, v.Size)
	case receipt.Audited:
		fmt.Fprintf(w, "yes: audited by %s, entry %d of %d of %s\n", strings.Join(v.Auditors, ", "), v.Index, v.Size, v.Origin)
	default:
		fmt.Fprintf(w, "yes: reappraised here, entry %d of %d of %s\n", v.Index, v.Size, v.Origin)
	}
	if v.Unseen > 0 {
		fmt.Fprintf(w, "  exceptions %d other entries, whose evidence the log withheld before its auditors saw it\n", v.Unseen)
	}
}

// explain adds what a reader can do about a refusal.
func (v *verifyCmd) explain(err error) error {
	var step *verify.Error
	if errors.As(err, &step) {
		switch step.Check {
		case "level":
			return hint(err, "--level 0 accepts a genuine chip whose place is unproven")
		case "realm":
			return hint(err, "--realm lab accepts evidence of a laboratory")
		case receipt.StepCheckpoint:
			return hint(err, "the tlog-policy says which logs and witnesses count; `poclog refresh` may bring more cosignatures")
		}
	}
	return err
}

// signed judges the submission in an envelope. What its publishers signed beside the bundle is the
// default.
func (v *verifyCmd) signed(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	e, err := poclog.ParseEnvelope(file)
	if err != nil {
		return v.refused(cmd, result{V: 1, Kind: "envelope"}, err)
	}
	sub, err := e.Submission()
	if err != nil {
		return v.refused(cmd, result{V: 1, Kind: "envelope"}, err)
	}
	sub.Envelope = file
	return v.appraise(cmd, "envelope", sub, d)
}

func (v *verifyCmd) submission(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	sub, err := poclog.ParseSubmission(file)
	if err != nil {
		return v.refused(cmd, result{V: 1, Kind: "submission"}, err)
	}
	return v.appraise(cmd, "submission", sub, d)
}

func (v *verifyCmd) bundle(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	sub := &poclog.Submission{Bundle: file}
	if v.envelope != "" {
		var err error
		if sub.Envelope, err = readFile(cmd, v.envelope, poclog.MaxEnvelope); err != nil {
			return err
		}
	}
	return v.appraise(cmd, "bundle", sub, d)
}

// appraise judges evidence as a log does, or by the collateral and at the time that the flags say.
func (v *verifyCmd) appraise(cmd *cobra.Command, kind string, sub *poclog.Submission, d receipt.Demands) error {
	in := profile.Input{
		Bundle: sub.Bundle, Envelope: sub.Envelope, Collateral: sub.Collateral, Appraised: poclog.UnixTime(time.Now().Unix()), Appraisal: poclog.Appraisal,
	}
	asked := sub.Judged
	var err error
	if v.at != "" {
		if in.Appraised, err = time.Parse(time.RFC3339, v.at); err != nil {
			return usagef("--at: %w", err)
		}
		asked = time.Time{}
	}
	if v.collateral != "" {
		if in.Collateral, err = readFile(cmd, v.collateral, poclog.MaxCollateral); err != nil {
			return err
		}
		if _, err := parseCollateral(v.collateral, in.Collateral); err != nil {
			return v.refused(cmd, result{V: 1, Kind: kind}, err)
		}
	}
	if in.Policy, err = readAppraisalPolicy(cmd, v.appraisalPolicy); err != nil {
		return err
	}
	var a *verify.Appraisal
	if err = profile.CheckSubmission(sub); err == nil {
		a, err = profile.AppraiseAt(in, asked, profile.Appraise)
	}
	if err == nil {
		err = d.CheckEntry(&a.Entry)
	}
	if err != nil {
		return v.explain(v.refused(cmd, result{V: 1, Kind: kind}, err))
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		return err
	}
	if v.asJSON {
		notes := make(map[string]string, len(a.Notes))
		for c, n := range a.Notes {
			notes[string(c)] = n
		}
		return printJSON(cmd.OutOrStdout(), result{V: 1, OK: true, Kind: kind, Entry: leaf, Notes: notes})
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "yes: the bundle passes at %s; no log vouches for it\n", a.Entry.Appraised.UTC().Format(time.RFC3339))
	printEntry(w, &a.Entry, a.Notes)
	return nil
}

func (v *verifyCmd) splitView(cmd *cobra.Command, file []byte, _ receipt.Demands) error {
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	s, err := receipt.CheckSplitView(file, policy)
	if err != nil {
		return v.refused(cmd, result{V: 1, Kind: "split-view"}, err)
	}
	if v.asJSON {
		return printJSON(cmd.OutOrStdout(), result{V: 1, OK: true, Kind: "split-view", Detail: s.Origin})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "yes: the log %s signed two histories; no tree has both of these checkpoints\n", s.Origin)
	return err
}

// printInterval says between which times the evidence was made, and who says so.
func printInterval(w io.Writer, v *receipt.Verdict) {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	by := ""
	if len(v.Witnesses) > 0 {
		by = ", by " + strings.Join(v.Witnesses, ", ")
	}
	switch {
	case v.T1.Known && v.T2.Known:
		fmt.Fprintf(w, "  made       between %s and %s%s\n", stamp(v.T1.Time), stamp(v.T2.Time), by)
	case v.T2.Known:
		fmt.Fprintf(w, "  made       before %s%s; not known after when: %s\n", stamp(v.T2.Time), by, v.T1.Why)
	case v.After > 0 || v.Entry != nil && v.Entry.Fresh != nil:
		fmt.Fprintf(w, "  made       after size %d of %s and before entry %d was logged; no time: %s\n", v.After, v.Entry.Fresh.Origin, v.Index, v.T2.Why)
	default:
		fmt.Fprintf(w, "  made       before entry %d was logged; not known after when: %s\n", v.Index, v.T1.Why)
	}
}
