package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/disclose"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

type attestCmd struct {
	logFlags
	machineFlags
	keyFlags
	out, receipt  output
	with          staple
	userData      string
	collateral    string
	state         string
	every         time.Duration
	keep          int
	check, submit bool
	yes, asJSON   bool

	machine *attest.Machine
	options *attest.Options
	log     *client.Client
	keys    []*signer.Signer
	made    []byte // the last bundle, until it is written
}

// defaultKeep is a week of receipts, one every ten minutes.
const defaultKeep = 1008

func newAttestCmd() *cobra.Command {
	a := new(attestCmd)
	c := &cobra.Command{
		Use:   "attest",
		Short: "Take this machine's evidence under a log's challenge, and publish it",
		Long: "Run inside a confidential VM: fetch a challenge from a log, have the TD and the TPM quote it, add certificates and event logs, and write the\n" +
			"bundle (-o), send it and keep the receipt (--submit), or do so for each window of time as a service (--every). What becomes public is shown\n" +
			"first, and asked once.\n\n" +
			"It detects where it runs: Compute Engine, Azure, a bare-metal machine with an AK (--ak), or a chip alone. --check says what is missing and\n" +
			"how to get it, and changes nothing: exit status 0 if nothing is missing, 1 if something is.",
		Example: "  poclog attest --check --log https://log.example/2026 --policy policy.txt\n" +
			"  poclog attest --submit --receipt vm.tlog-proof --user-data tls.pub --log https://log.example/2026 --policy policy.txt\n" +
			"  poclog attest --every 10m --yes --state /var/lib/poclog-attest --log https://log.example/2026 --policy policy.txt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd) },
	}
	a.logFlags.register(c)
	a.machineFlags.register(c)
	a.keyFlags.register(c, "sign as a publisher with this key")
	fs := c.Flags()
	fs.BoolVar(&a.check, "check", false, "only say what of the evidence is at hand, and how to get what is missing")
	fs.StringVar(&a.userData, "user-data", "", "what the proof is to speak for, such as a TLS public key; read anew for each proof")
	fs.StringVarP(&a.out.path, "output", "o", "", `where to write the bundle ("-": standard output)`)
	a.with.flags(fs)
	fs.BoolVar(&a.submit, "submit", false, "send the bundle to the log and keep the receipt")
	fs.StringVar(&a.receipt.path, "receipt", "", "where to write the receipt (default: in the state's folder)")
	fs.StringVar(&a.collateral, "collateral", "", "collateral to send with the bundle, for a log that fetches none")
	fs.DurationVar(&a.every, "every", 0, "keep a proof for each window of this length, as a service, such as 10m")
	fs.StringVar(&a.state, "state", "", "folder for receipts and for what is not yet finished (default: in the XDG state folder)")
	fs.IntVar(&a.keep, "keep", defaultKeep, "how many receipts stay in the state's folder; 0: all")
	fs.BoolVar(&a.yes, "yes", false, "publish without asking")
	fs.BoolVar(&a.asJSON, "json", false, "print JSON: the report of --check, or one object for each proof")
	fs.BoolVar(&a.out.force, "force", false, "overwrite bundle and receipt")
	return c
}

// prepare refuses what cannot be meant, before anything is asked or quoted.
func (a *attestCmd) prepare(cmd *cobra.Command) (err error) {
	service := a.every != 0
	a.receipt.force, a.with.out.force = a.out.force, a.out.force
	a.out.both, a.receipt.both, a.with.out.both = true, true, true
	switch {
	case a.check && (service || a.submit || a.out.path != ""):
		return usagef("--check only reports: leave out -o, --submit and --every")
	case !a.check && !service && !a.submit && a.out.path == "":
		return hint(usagef("say what to do with the evidence: -o FILE, --submit or --every"), "--check says whether this machine can give it")
	case service && (a.out.path != "" || a.receipt.path != ""):
		return usagef("--every keeps receipts in the state's folder: leave out -o and --receipt, and name it with --state")
	case service && (a.every < time.Second || a.every%time.Second != 0):
		return usagef("--every %s: want whole seconds, at least one", a.every)
	case a.with.out.path != "" && a.receipt.path == "":
		return usagef("--dossier: it goes with a receipt: --submit and --receipt FILE")
	case a.receipt.path != "" && !a.submit:
		return usagef("--receipt without --submit: there is no receipt")
	case a.receipt.path != "" && a.state != "":
		return usagef("--receipt and --state: the receipt goes to one of them")
	case service && a.userData == "-":
		return usagef("--user-data -: standard input can be read once, and --every reads anew for each proof")
	case a.out.path == "-" && a.asJSON:
		return usagef("-o - and --json: standard output holds one of them")
	case a.keep < 0:
		return usagef("--keep %d: want 0 or more", a.keep)
	}
	if err := a.used(cmd); err != nil {
		return err
	}
	for _, o := range []*output{&a.out, &a.receipt, &a.with.out} {
		if err := o.checkIfNamed(); err != nil {
			return err
		}
	}
	if !a.check && !a.yes {
		if err := canAsk(cmd); err != nil {
			return err
		}
	}
	if a.options, err = a.machineFlags.options(cmd); err != nil {
		return err
	}
	if a.keys, err = a.keyFlags.open(cmd); err != nil {
		return err
	}
	a.machine = thisMachine(a.tpm, a.imds)
	return a.machineFlags.used(cmd, a.machine, a.options)
}

// used refuses flags that have no effect on what is to be done.
func (a *attestCmd) used(cmd *cobra.Command) error {
	if a.check {
		return unused(cmd, "--check reports what is at hand, and publishes nothing", "yes", "key", "user-data", "collateral", "state", "keep", "force")
	}
	if a.every == 0 && !a.submit {
		if err := unused(cmd, "-o writes the bundle alone, which is not sent", "key", "collateral", "state", "keep", "json"); err != nil {
			return err
		}
	}
	if a.receipt.path != "" {
		if err := unused(cmd, "the receipt goes to --receipt, and not into the state's folder", "keep"); err != nil {
			return err
		}
	}
	for _, o := range []*output{&a.out, &a.receipt, &a.with.out} {
		if o.path != "" && o.path != "-" {
			return nil
		}
	}
	return unused(cmd, "no file is named that it could overwrite", "force")
}

func (a *attestCmd) run(cmd *cobra.Command) error {
	if err := a.prepare(cmd); err != nil {
		return err
	}
	var err error
	if a.log, err = a.client(cmd); err != nil && !a.check {
		return err
	}
	switch {
	case a.check:
		return a.report(cmd, err)
	case a.every != 0 || a.submit && a.receipt.path == "":
		return a.runSeries(cmd)
	}
	userData, err := readUserData(cmd, a.userData)
	if err != nil {
		return err
	}
	bundle, err := a.take(cmd.Context(), cmd, userData)
	if err != nil {
		return attestFailed(err)
	}
	list, err := a.discloses(cmd, bundle)
	if err != nil {
		return err
	}
	if err := a.ask(cmd, list, false); err != nil {
		return err
	}
	if err := a.writeBundle(cmd, bundle); err != nil {
		return err
	}
	if !a.submit {
		return nil
	}
	sub, err := a.submission(cmd, bundle)
	if err != nil {
		return err
	}
	got, err := (&sender{cmd, a.log}).submitAndKeep(sub, &a.receipt)
	if err != nil {
		return unjudged(unsigned(err), a.collateral)
	}
	a.tell(cmd, attest.Event{Receipt: a.receipt.path, Verdict: got.Verdict, New: got.New})
	return a.with.keep(cmd, a.log, got.Receipt)
}

// take takes evidence.
func (a *attestCmd) take(ctx context.Context, cmd *cobra.Command, userData poclog.Digest) ([]byte, error) {
	im, err := a.machine.Attest(ctx, a.options, func(ctx context.Context, p poclog.Profile) (*poclog.Challenge, error) {
		return a.log.Challenge(ctx, p, userData)
	})
	if err != nil {
		return nil, err
	}
	if err := usable(cmd, im); err != nil {
		return nil, err
	}
	a.made, err = im.Bundle.Marshal()
	return a.made, err
}

// discloses lists what a bundle tells, with the collateral and the signatures that it is sent with.
func (a *attestCmd) discloses(cmd *cobra.Command, bundle []byte) ([]disclose.Fact, error) {
	sub, err := a.unsigned(cmd, bundle)
	if err != nil {
		return nil, err
	}
	return disclosed(sub, a.keys)
}

// ask shows what becomes public, and asks. --yes is for what this process takes, and not for what
// it finds.
func (a *attestCmd) ask(cmd *cobra.Command, list []disclose.Fact, found bool) error {
	to := ""
	if a.submit || a.every != 0 {
		to = a.url
	}
	if found {
		fmt.Fprintln(cmd.ErrOrStderr(), "The state's folder holds evidence that was not published. It may be another's.")
	}
	return consent(cmd, a.yes && !found, to, list, a.keys)
}

// writeBundle writes the bundle that was taken last, if it is to be written.
func (a *attestCmd) writeBundle(cmd *cobra.Command, bundle []byte) error {
	if a.out.path == "" || !bytes.Equal(bundle, a.made) {
		return nil
	}
	a.made = nil
	return a.out.write(cmd, bundle)
}

// usable refuses evidence that contradicts itself, which every judge would refuse, and says what a
// judge could not prove with it.
func usable(cmd *cobra.Command, im *importer.Import) error {
	o, err := outlookOf(im)
	if err != nil {
		return err
	}
	for _, c := range o.Checks {
		if c.State == profile.Refused {
			return hint(fmt.Errorf("the evidence contradicts itself: %s: %s", c.Check, c.Why), "%s; %s", howToCarry(o.Profile, &c), explainHint(string(c.Check)))
		}
	}
	if o.Level < poclog.LevelBound && im.Profile != poclog.TDX {
		printOutlook(cmd.ErrOrStderr(), im, o, nil)
		return nil
	}
	for _, n := range im.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	return nil
}

// unsigned adds collateral to a bundle.
func (a *attestCmd) unsigned(cmd *cobra.Command, bundle []byte) (*poclog.Submission, error) {
	sub := &poclog.Submission{Bundle: bundle}
	var err error
	if a.collateral != "" {
		sub.Collateral, _, err = readCollateral(cmd, a.collateral)
	}
	return sub, err
}

// submission adds collateral and signatures to a bundle.
func (a *attestCmd) submission(cmd *cobra.Command, bundle []byte) (*poclog.Submission, error) {
	if err := a.writeBundle(cmd, bundle); err != nil {
		return nil, err
	}
	sub, err := a.unsigned(cmd, bundle)
	if err != nil {
		return nil, err
	}
	return sub, seal(cmd, sub, a.keys)
}

// runSeries proves windows, or once with the same care: what is begun is finished after a crash.
func (a *attestCmd) runSeries(cmd *cobra.Command) error {
	if a.state == "" {
		a.state = attestState(a.url)
	}
	st, err := attest.OpenState(a.state, a.url)
	if errors.Is(err, attest.ErrOtherLog) {
		return hint(usagef("%w", err), "give each log a folder of its own: --state DIR")
	}
	if err != nil {
		return hint(undecided(err), "--state DIR names another folder; a single proof needs none: --receipt FILE")
	}
	defer st.Close() // the lock ends with the process in any case
	var log attest.Submitter = &sender{cmd, a.log}
	if a.every != 0 {
		log, a.log.Again = a.log, nil // each window's event says it
	}
	s := &attest.Series{
		State: st, Log: log, Every: a.every, Keep: a.keep,
		UserData:   func() (poclog.Digest, error) { return readUserData(cmd, a.userData) },
		Make:       func(ctx context.Context, userData poclog.Digest) ([]byte, error) { return a.take(ctx, cmd, userData) },
		Submission: func(bundle []byte) (*poclog.Submission, error) { return a.submission(cmd, bundle) },
		Tell:       func(e attest.Event) { a.tell(cmd, e) },
		Terms:      a.terms(),
		Discloses:  func(bundle []byte) ([]disclose.Fact, error) { return a.discloses(cmd, bundle) },
		Ask:        func(_ context.Context, list []disclose.Fact, found bool) error { return a.ask(cmd, list, found) },
		Ready:      func(context.Context) error { return a.machine.Present(a.options) },
	}
	if a.every == 0 {
		return attestFailed(s.Once(cmd.Context()))
	}
	return attestFailed(s.Run(cmd.Context()))
}

// terms are what the publisher agrees to beside the evidence.
func (a *attestCmd) terms() attest.Terms {
	var t attest.Terms
	var origins []string
	for _, l := range a.log.Policy.Logs() {
		origins = append(origins, l.Origin)
	}
	slices.Sort(origins)
	t.Origin = strings.Join(slices.Compact(origins), " ")
	for _, k := range a.keys {
		t.Keys = append(t.Keys, k.Key().Digest)
	}
	return t
}

// attestFailed gives an error its exit status and says how to get what is missing.
func attestFailed(err error) error {
	var missing *attest.MissingError
	var status *exitError
	switch {
	case err == nil || errors.As(err, &status):
		return err
	case errors.As(err, &missing):
		return hint(undecided(err), "to get it: %s", remedy(missing.How, ""))
	case client.StatusOf(err) != 0 || client.Temporary(err) || errors.As(err, new(*client.SplitView)) || errors.As(err, new(*client.HistoryError)):
		return unsigned(fromLog(err))
	}
	return err
}

// eventJSON is what --json prints of a proof or a failure.
type eventJSON struct {
	V       int    `json:"v"`
	Window  string `json:"window,omitempty"`
	Receipt string `json:"receipt,omitempty"`
	Origin  string `json:"origin,omitempty"`
	Index   string `json:"index,omitempty"` // of the entry, decimal
	Level   *int   `json:"level,omitempty"`
	New     bool   `json:"new"`
	Missed  int    `json:"missed,omitempty"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// tell says what became of a window: a line for people, and an object for machines.
func (a *attestCmd) tell(cmd *cobra.Command, e attest.Event) {
	line, j := "", eventJSON{V: 1, Receipt: e.Receipt, New: e.New, Missed: e.Missed}
	if !e.Window.IsZero() {
		j.Window = e.Window.Format(time.RFC3339)
		line = j.Window + ": "
	}
	if e.Verdict != nil {
		j.Origin, j.Index = e.Verdict.Origin, fmt.Sprint(e.Verdict.Index)
		line += describeLogged(e.Verdict, e.New, &j)
	}
	if e.Missed > 0 {
		line += fmt.Sprintf("; %d windows before have no proof", e.Missed)
	}
	if e.Err != nil {
		j.Error = strings.ReplaceAll(e.Err.Error(), "\n", "; ")
		line += j.Error
		if missing, ok := errors.AsType[*attest.MissingError](e.Err); ok {
			j.Hint = remedy(missing.How, "")
			line += "; to get it: " + j.Hint
		}
	}
	if e.Again > 0 {
		line += fmt.Sprintf("; again in %s", e.Again.Round(time.Second))
	}
	fmt.Fprintln(cmd.ErrOrStderr(), line)
	if a.asJSON {
		_ = json.NewEncoder(cmd.OutOrStdout()).Encode(j) // whoever read it is gone: the receipt is kept
	}
}

func describeLogged(v *receipt.Verdict, isNew bool, j *eventJSON) string {
	what := "logged as"
	if !isNew {
		what = "the log had this evidence already, as"
	}
	text := fmt.Sprintf("%s entry %d of %s", what, v.Index, v.Origin)
	if v.Entry != nil {
		level := int(v.Entry.Level)
		j.Level = &level
		text += fmt.Sprintf(", level %d", level)
	}
	return text
}

// report prints what is at hand and what is missing.
func (a *attestCmd) report(cmd *cobra.Command, noLog error) error {
	var info attest.LogInfo
	if a.log != nil {
		info = a.log
	}
	r := a.machine.Check(cmd.Context(), a.options, info)
	if noLog != nil && len(r.Requirements) > 0 {
		last := &r.Requirements[len(r.Requirements)-1]
		last.Detail = noLog.Error()
	}
	w, out := cmd.OutOrStdout(), reportOf(r)
	if a.asJSON {
		if err := printJSON(w, out); err != nil {
			return err
		}
	} else {
		printRequirements(w, out.Requirements)
		printProblems(w, r)
	}
	if r.Contradicts() {
		return errors.New("the evidence of this machine contradicts itself: no log would take it")
	}
	if !r.OK() {
		return errors.New("this machine cannot give all of the evidence yet")
	}
	return nil
}
