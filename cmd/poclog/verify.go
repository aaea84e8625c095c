package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
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

	verbose bool
	path    string             // of the file, as it was given
	kind    string             // of the file, once it is recognised
	trusted *tlogpolicy.Policy // once it is read
}

func newVerifyCmd() *cobra.Command {
	v := new(verifyCmd)
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a receipt, a dossier, a bundle, its submission or envelope, a contradiction or a split view, offline",
		Long: "Check a receipt under your tlog-policy, or appraise a bundle under an appraisal policy. Nothing is fetched, nobody is asked.\n" +
			"The first word is PASS, FAIL or UNDECIDED. Every refusal is listed, with what would meet it; `poclog explain` says more of each.\n\n" +
			"A flag that has no effect on the kind of file is wrong usage. Of a submission, what the publisher could have written himself is refused: unsigned\n" +
			"collateral and, beside a challenge, a time of judgement. --collateral and --at are yours.\n\n" +
			"Of a contradiction, the receipts are checked, the appraisals repeated and the monitor's rule run again: 0 says that its entries cannot all\n" +
			"be honest. Of a split view, that the log signed two histories. Of a dossier, that nothing which names its identities is left out;\n" +
			"--dossier clears a receipt by one.\n\n" +
			"Safe defaults: realm production and level 2 (every required check of a profile that binds the VM to its place). Exit status 0 is\n" +
			"PASS, 1 FAIL, 2 wrong usage (no policy is one), 3 UNDECIDED: a file was not to be had.",
		Example: "  poclog verify vm.tlog-proof --policy policy.txt --place gce/us-central1-a --max-age 10m\n" +
			"  poclog verify vm.bundle.json --collateral intel.collateral.json --at 2026-06-08T12:42:41Z --level 0\n" +
			"  poclog verify clone-ak.contradiction.json --policy policy.txt",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v.path = args[0]
			return v.conclude(cmd, args[0], v.run(cmd, args[0]))
		},
	}
	v.demandFlags.register(c)
	v.dossierFlags.register(c)
	c.Flags().StringVar(&v.policy, "policy", "", "tlog-policy: whose signatures count")
	c.Flags().StringVar(&v.at, "at", "", "a bundle: judge it at this time, RFC 3339 (default: now)")
	c.Flags().DurationVar(&v.limits.MoveTime, "move-time", rule.DefaultMoveTime, "a contradiction: the least time in which a machine is moved to another place")
	c.Flags().DurationVar(&v.limits.SwapTime, "swap-time", rule.DefaultSwapTime, "a contradiction: the least time in which a machine's TPM is replaced")
	c.Flags().BoolVar(&v.asJSON, "json", false, "print JSON")
	c.Flags().BoolVarP(&v.verbose, "verbose", "v", false, "show all digests, and each check with what it found")
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
		v.kind = k.kind
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
		return hint(fmt.Errorf("it is %s, and %w", is, err), "%s", whatToDoWith[is])
	}
	return hint(err, "`poclog import` makes bundles of other tools' evidence")
}

// A fileKind is a kind of file that can be checked, and the flags that have an effect on how.
// Others would be demands that it cannot answer.
type fileKind struct {
	is    func(file []byte) bool
	name  string
	kind  string // in JSON
	flags []string
	check func(*cobra.Command, []byte, receipt.Demands) error
}

// Flags of kinds of files.
var (
	// Demands on what an entry says, and how it is appraised.
	entryFlags = []string{
		"profile", "level", "realm", "place", "chassis", "require", "owner", "endorsed-by", "tcb", "publisher", "appraisal-digest", "measurement", "user-data",
		"collateral", "appraisal", "verbose",
	}
	submissionFlags = slices.Concat(entryFlags, []string{"at"})
	bundleFlags     = slices.Concat(submissionFlags, []string{"envelope"})
	receiptFlags    = slices.Concat(entryFlags, dossierDemands,
		[]string{"policy", "verdict", "audit-group", "max-age", "max-checkpoint-age", "max-interval", "bundle", "envelope", "quote", "dossier", registrarsFlag, "opening"})
	// Demands on dossiers, also on those that are to clear a receipt.
	dossierDemands     = []string{"since", "covers", "move-time", "swap-time"}
	dossierFileFlags   = slices.Concat(dossierDemands, []string{"policy", "verdict", "audit-group", "max-age", "realm", "verbose", registrarsFlag})
	contradictionFlags = []string{"verbose", "policy", "realm", "audit-group", "move-time", "swap-time"}
)

func begins(with string) func(file []byte) bool {
	return func(file []byte) bool { return bytes.HasPrefix(file, []byte(with)) }
}

func (v *verifyCmd) kinds() []fileKind {
	return []fileKind{
		{begins(receiptStart), "a receipt", "receipt", receiptFlags, v.receipt},
		{begins(bundleStart), "a bundle", "bundle", bundleFlags, v.bundle},
		{poclog.IsEnvelope, "an envelope", "envelope", submissionFlags, v.signed},
		{begins(submissionStart), "a submission", "submission", submissionFlags, v.submission},
		{poclog.IsDossier, "a dossier", "dossier", dossierFileFlags, v.dossier},
		{poclog.IsIndexWrong, "a wrong index", "index-wrong", []string{"policy"}, v.indexWrong},
		{begins(splitViewStart), "a split view", "split-view", []string{"policy"}, v.splitView},
		{begins(contradictionStart), "a contradiction", "contradiction", contradictionFlags, v.contradiction},
	}
}

// A result is what --json prints, whatever the file.
type result struct {
	V       int               `json:"v"`
	OK      bool              `json:"ok"`
	Outcome string            `json:"outcome"`          // "PASS", "FAIL" or "UNDECIDED"
	Kind    string            `json:"kind"`             // "receipt", "bundle", "envelope", "submission", "contradiction", "dossier", "index-wrong" or "split-view"
	Check   string            `json:"check,omitempty"`  // what refused first: a check, a step or a demand
	Detail  string            `json:"detail,omitempty"` // all of it, on one line
	Failed  []failure         `json:"failed,omitempty"` // everything that refused
	Verdict *receipt.Verdict  `json:"verdict,omitempty"`
	Entry   json.RawMessage   `json:"entry,omitempty"`
	Notes   map[string]string `json:"notes,omitempty"`

	IndexWrong    *dossier.Wrong                `json:"index_wrong,omitempty"`
	Dossier       *dossier.Answer               `json:"dossier,omitempty"`
	Contradiction *receipt.ContradictionVerdict `json:"contradiction,omitempty"` // of an alert, too, which is not OK
}

// answer says what a file shows: it passed, or refused says why not, which is then told.
func (v *verifyCmd) answer(cmd *cobra.Command, r result, refused error, print func(w io.Writer, outcome string)) error {
	r.V, r.OK, r.Outcome, r.Kind = 1, refused == nil, pass, v.kind
	if refused != nil {
		r.Outcome, refused = fail, &exitError{status: exitNo, err: refused, told: true}
	}
	if !v.asJSON {
		print(cmd.OutOrStdout(), r.Outcome)
		return refused
	}
	if err := printJSON(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	return refused
}

// policyOf reads whose signatures count, and finds the group of auditors in it.
func (v *verifyCmd) policyOf(cmd *cobra.Command) (*tlogpolicy.Policy, error) {
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return nil, err
	}
	v.trusted = policy
	if cmd.Flags().Changed("audit-group") && !policy.Has(v.auditGroup) {
		return nil, usagef("--audit-group %q: the tlog-policy defines no such witness or group", v.auditGroup)
	}
	return policy, nil
}

func (v *verifyCmd) receipt(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	if v.demandFlags.bundle == "" {
		if err := unused(cmd, "without --bundle no appraisal is repeated", "envelope", "collateral", "appraisal"); err != nil {
			return err
		}
	}
	if len(v.dossiers) == 0 {
		if err := unused(cmd, "without --dossier no dossier is asked", append([]string{registrarsFlag, "opening"}, dossierDemands...)...); err != nil {
			return err
		}
		if len(v.endorsers) > 0 {
			return usagef("--endorsed-by %s: what a registrar stated is in a dossier: --dossier FILE", v.endorsers[0].Name)
		}
	}
	policy, err := v.policyOf(cmd)
	if err != nil {
		return err
	}
	verdict, err := receipt.Check(file, policy, time.Now(), d)
	// A receipt that is good, and does not meet all demands, is held to the others, too.
	if unmet, ok := errors.AsType[*receipt.Unmet](err); ok {
		verdict = unmet.Verdict
	}
	if verdict == nil {
		return err
	}
	if v.quoteFile != "" {
		err = several(err, v.compareQuote(cmd, verdict.Entry))
	}
	if err = several(err, v.cleared(cmd, verdict, &d)); err != nil {
		return err
	}
	return v.answer(cmd, result{Verdict: verdict, Entry: verdict.Receipt.Entry}, nil, func(w io.Writer, outcome string) {
		headline(w, outcome, v.shown(v.path)+", "+entryOf(verdict))
		v.printProof(w, verdict, nil)
		v.printComplete(w)
		for _, e := range v.endorsers {
			field(w, "vouched by", "%q at level %d or above, in its statements: they place nothing", e.Name, e.Level)
		}
		if v.quoteFile != "" {
			field(w, "quote", "same chip and launch measurement as the receipt's; this is not yet the same VM: user data shows the key that the proof speaks for")
		}
	})
}

// signed judges the submission in an envelope. What its publishers signed beside the bundle is the
// default.
func (v *verifyCmd) signed(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	e, err := poclog.ParseEnvelope(file)
	if err != nil {
		return err
	}
	sub, err := e.Submission()
	if err != nil {
		return err
	}
	sub.Envelope = file
	return v.appraise(cmd, sub, d)
}

func (v *verifyCmd) submission(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	sub, err := poclog.ParseSubmission(file)
	if err != nil {
		return err
	}
	return v.appraise(cmd, sub, d)
}

func (v *verifyCmd) bundle(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	envelope, err := readOptional(cmd, v.envelope, poclog.MaxEnvelope)
	if err != nil {
		return err
	}
	return v.appraise(cmd, &poclog.Submission{Bundle: file, Envelope: envelope}, d)
}

// appraise judges evidence as a log does, or by the collateral and at the time that the flags say.
func (v *verifyCmd) appraise(cmd *cobra.Command, sub *poclog.Submission, d receipt.Demands) error {
	in := profile.Input{
		Bundle: sub.Bundle, Envelope: sub.Envelope, Collateral: sub.Collateral, Appraised: poclog.UnixTime(time.Now().Unix()), Appraisal: poclog.Appraisal,
	}
	asked := sub.Judged
	if len(v.endorsers) > 0 {
		return usagef("--endorsed-by %s: what a registrar stated is asked of a receipt, with --dossier", v.endorsers[0].Name)
	}
	var err error
	if v.at != "" {
		if in.Appraised, err = time.Parse(time.RFC3339, v.at); err != nil {
			return usagef("--at: %w", err)
		}
		asked = time.Time{}
	}
	if v.collateral != "" {
		if in.Collateral, _, err = readCollateral(cmd, v.collateral); err != nil {
			return err
		}
	}
	if in.Policy, _, err = readAppraisal(cmd, v.appraisalPolicy); err != nil {
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
		return err
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		return err
	}
	r := result{Entry: leaf, Notes: make(map[string]string, len(a.Notes))}
	for c, n := range a.Notes {
		r.Notes[string(c)] = n
	}
	return v.answer(cmd, r, nil, func(w io.Writer, outcome string) {
		headline(w, outcome, v.shown(v.path)+", judged at "+stamp(a.Entry.Appraised))
		field(w, "stands on", "the evidence, which was judged here; no log vouches for it")
		v.printProof(w, &receipt.Verdict{Entry: &a.Entry}, a.Notes)
	})
}

func (v *verifyCmd) splitView(cmd *cobra.Command, file []byte, _ receipt.Demands) error {
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	s, err := receipt.CheckSplitView(file, policy)
	if err != nil {
		return err
	}
	return v.answer(cmd, result{Detail: s.Origin}, nil, func(w io.Writer, outcome string) {
		headline(w, outcome, v.shown(v.path)+" is proven")
		field(w, "seen", "the log %s signed two histories; no tree has both of these checkpoints", s.Origin)
		field(w, "implicated", "log:%s", s.Origin)
		field(w, "stands on", "what the log itself signed")
	})
}
