package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

type dossierCmd struct {
	logFlags
	out       output
	since     string
	intervals bool
	registrar []string
}

func newDossierCmd() *cobra.Command {
	d := new(dossierCmd)
	c := &cobra.Command{
		Use:   "dossier NAME... | RECEIPT",
		Short: "Get everything that a log says of a chip, a key or a VM, with the proof that it is everything",
		Long: "Get a dossier: every entry of a log that names an identity, and a proof that there are no others. A receipt stands for all the\n" +
			"identities that its entry names. Of an identity, unproven claims (level 0) and what registrars stated of it are included. `poclog verify` checks the file offline.",
		Example: "  poclog dossier intel:tdx:ppid:00112233445566778899aabbccddeeff --log https://log.example/2026 -o chip.dossier.json\n" +
			"  poclog dossier vm.tlog-proof --since 30d --intervals -o vm.dossier.json\n" +
			"  poclog verify vm.tlog-proof --dossier vm.dossier.json --policy policy.txt",
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			list, _ := completeIdentities(c, args, typed)
			return list, cobra.ShellCompDirectiveDefault // or a receipt's file
		},
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args) },
	}
	d.logFlags.register(c)
	d.out.flags(c, "dossier")
	c.Flags().StringVar(&d.since, "since", "", "only what was logged since: RFC 3339, a date, or how long ago (24h, 30d); default: everything")
	c.Flags().StringArrayVar(&d.registrar, "registrar", nil, "with every statement of this registrar, its commitments to private fleets among them; may be repeated")
	c.Flags().BoolVar(&d.intervals, "intervals", false, "with the checkpoints that show when each entry's evidence was made")
	return c
}

func (d *dossierCmd) run(cmd *cobra.Command, args []string) error {
	if err := d.out.check(); err != nil {
		return err
	}
	since, err := parseMoment("since", d.since, time.Now())
	if err != nil {
		return err
	}
	names, err := d.names(cmd, args)
	if err != nil {
		return err
	}
	cl, err := d.client(cmd)
	if err != nil {
		return err
	}
	file, a, err := fetchDossier(cmd, cl, client.DossierOf{Names: names, Since: since, Intervals: d.intervals})
	if err != nil {
		return err
	}
	if err := d.out.write(cmd, file); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d entries of %s, complete up to entry %d\n", len(a.Entries), a.Origin, a.Size)
	return nil
}

// askedDossier gets a dossier from a log, and checks it. What it proves is in the answer.
func askedDossier(ctx context.Context, cl *client.Client, of client.DossierOf, demands dossier.Demands) (file []byte, a *dossier.Answer, err error) {
	d, err := cl.Dossier(ctx, of)
	if err != nil {
		return nil, nil, fromLog(err)
	}
	if file, err = d.Marshal(); err != nil {
		return nil, nil, err
	}
	if a, err = dossier.Check(file, cl.Policy, time.Now(), demands); err != nil {
		return nil, nil, fmt.Errorf("the log's answer does not prove what it says: %w", err)
	}
	return file, a, nil
}

// fetchDossier gets a dossier for its reader, who says later which realm is asked about, and how
// much audit.
func fetchDossier(cmd *cobra.Command, cl *client.Client, of client.DossierOf) (file []byte, a *dossier.Answer, err error) {
	told := progress(cmd, "entries")
	of.Progress = func(done, total int) { told(uint64(done), uint64(total)) }
	demands := dossier.Demands{Names: of.Names, Since: of.Since}
	if demands.Since.IsZero() {
		demands.Since = time.Now().Add(time.Hour) // the log left nothing out unless it was asked
	}
	return askedDossier(cmd.Context(), cl, of, demands)
}

// names returns what the arguments name: identities with their unproven claims, or the identities
// of a receipt.
func (d *dossierCmd) names(cmd *cobra.Command, args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		id, err := poclog.ParseIdentity(arg)
		switch {
		case err == nil:
			of, err := namesOfIdentity(id)
			if err != nil {
				return nil, err
			}
			names = append(names, of...)
		case index.ParseName(arg) == nil:
			names = append(names, arg)
		case strings.Contains(arg, ":") && !strings.Contains(arg, "/"):
			id, err := wholeIdentity(cmd, "dossier", arg)
			if err != nil {
				return nil, err
			}
			names = append(names, string(id), index.Unproven+string(id))
		default:
			more, err := namesOfReceipt(cmd, arg)
			if err != nil {
				return nil, err
			}
			names = append(names, more...)
		}
	}
	for _, name := range d.registrar {
		names = append(names, index.RegistrarName(name))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// namesOfIdentity are an identity's names in an index, what registrars stated of it included.
func namesOfIdentity(id poclog.Identity) ([]string, error) {
	names := index.NamesAbout(id)
	if names == nil {
		return nil, hint(usagef("%s: a quote is in one entry, and not in the index", id), "`poclog log entries URL --identity %s` finds it", id)
	}
	return names, nil
}

func namesOfReceipt(cmd *cobra.Command, path string) ([]string, error) {
	file, err := readFile(cmd, path, poclog.MaxReceipt)
	if err != nil {
		return nil, hint(err, "an identity looks like intel:tdx:ppid:00112233445566778899aabbccddeeff")
	}
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, fmt.Errorf("%s: neither an identity nor a receipt: %w", path, err)
	}
	e, err := poclog.ParseEntry(r.Entry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return slices.Concat(dossier.NamesFor(e), dossier.StatementNamesFor(e)), nil
}

// dossierFlags are what a reader asks of dossiers.
type dossierFlags struct {
	registrars string
	openings   []string
	dossiers   []string
	since      string
	names      []string
	answers    []*dossier.Answer // of the dossiers to which a receipt was held
}

func (f *dossierFlags) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.dossiers, "dossier", nil, "a receipt: it must be cleared by this dossier of its log; one of another log must not contradict it")
	c.Flags().StringVar(&f.since, "since", "", "dossiers: everything that was logged since is listed: RFC 3339, a date, or how long ago (24h, 30d); default: everything")
	c.Flags().StringVar(&f.registrars, registrarsFlag, "", "dossiers: the registrars that you believe (default: POCLOG_REGISTRARS, or registrars.json in the config folder, if it is there)")
	c.Flags().StringArrayVar(&f.openings, "opening", nil, "a receipt: its machine is one of a private fleet, by this opening; with --endorsed-by NAME")
	c.Flags().StringSliceVar(&f.names, "covers", nil, "a dossier: demand that it covers these names")
}

// demands are those of the other flags that a dossier can meet.
func (f *dossierFlags) demands(cmd *cobra.Command, d *receipt.Demands, v *verifyCmd, now time.Time) (out dossier.Demands, err error) {
	out = dossier.Demands{
		Names: f.names, Standing: d.Standing, AuditGroup: d.AuditGroup, MaxAge: d.MaxAge, UnsafeRealm: d.UnsafeRealm, Limits: v.limits, EndorsedBy: v.endorsers,
	}
	if out.Since, err = parseMoment("since", f.since, now); err != nil {
		return out, err
	}
	for _, path := range f.openings {
		file, err := readFile(cmd, path, 1<<16)
		if err != nil {
			return out, err
		}
		o, err := poclog.ParseOpening(file)
		if err != nil {
			return out, usagef("%s: %w", path, err)
		}
		out.Openings = append(out.Openings, o)
	}
	if out.Registrars, err = readPins(cmd, f.registrars); err == nil && out.Registrars == nil && len(v.endorsers) > 0 {
		err = hint(usagef("--endorsed-by %s: you pinned no registrar", v.endorsers[0].Name), "poclog registry trust FILE, or trust NAME --log URL")
	}
	return out, err
}

// cleared holds a receipt to the dossiers that were given: the one of its log must clear it, and
// those of other logs must agree with it.
func (v *verifyCmd) cleared(cmd *cobra.Command, verdict *receipt.Verdict, d *receipt.Demands) error {
	if len(v.dossiers) == 0 {
		return nil
	}
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	now := time.Now()
	demands, err := v.dossierFlags.demands(cmd, d, v, now)
	if err != nil {
		return err
	}
	own := false
	var origins []string
	for _, path := range v.dossiers {
		file, err := readFile(cmd, path, poclog.MaxDossier)
		if err != nil {
			return err
		}
		a, err := dossier.Check(file, policy, now, demands)
		if err == nil && a.Origin == verdict.Origin {
			own, err = true, a.Clears(verdict)
		} else if err == nil {
			err = a.Agrees(verdict)
			origins = append(origins, a.Origin)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		v.answers = append(v.answers, a)
	}
	if own {
		return nil
	}
	return &verify.Error{Check: dossier.StepDossier, Detail: fmt.Sprintf("the receipt is of %s, the dossiers of %s", verdict.Origin, strings.Join(origins, ", "))}
}

// dossier checks a dossier. What it shows is a yes unless it contradicts or calls for an
// explanation.
func (v *verifyCmd) dossier(cmd *cobra.Command, file []byte, d receipt.Demands) error {
	policy, err := v.policyOf(cmd)
	if err != nil {
		return err
	}
	now := time.Now()
	demands, err := v.dossierFlags.demands(cmd, &d, v, now)
	if err != nil {
		return err
	}
	a, err := dossier.Check(file, policy, now, demands)
	if err != nil {
		return err
	}
	var refused error
	if grave := a.Gravest(); grave != nil {
		refused = fmt.Errorf("rule %s: %s", grave.Rule, grave.Seen)
	}
	return v.answer(cmd, result{Dossier: a}, refused, func(w io.Writer, outcome string) { v.printDossier(w, outcome, a) })
}

// printComplete says up to where nothing else is claimed, by the dossiers to which a receipt was
// held.
func (f *dossierFlags) printComplete(w io.Writer) {
	for _, a := range f.answers {
		asOf, word := "", "the log's word alone"
		if a.Seen.Known {
			asOf = ", as of " + stamp(a.Seen.Time)
		}
		if a.Verdict == receipt.Audited {
			word = "the word of " + strings.Join(a.Auditors, ", ")
		}
		field(w, "complete", "up to entry %d of %s%s, on %s: nothing contradicts", a.Size, a.Origin, asOf, word)
	}
}

// printDossier says what a dossier shows, on whose word, and how old it is.
func (v *verifyCmd) printDossier(w io.Writer, outcome string, a *dossier.Answer) {
	headline(w, outcome, fmt.Sprintf("%s of %s, complete up to entry %d", v.shown(v.path), a.Origin, a.Size))
	for _, f := range a.Findings {
		style := terminal.Bad
		if f.Severity == rule.Information {
			style = terminal.Good
		}
		marked(w, style, string(f.Severity), "%s: %s %s", f.Rule, v.short(f.Seen), f.Meaning)
	}
	if len(a.Findings) == 0 {
		field(w, "findings", "none: nothing contradicts")
	}
	if a.Verdict == receipt.Audited {
		field(w, "stands on", "audited: the lists were compared by %s", strings.Join(a.Auditors, ", "))
	} else {
		field(w, "stands on", "%s: the log's word alone that the lists are complete", a.Verdict)
	}
	if a.Seen.Known {
		field(w, "as of", "%s", stamp(a.Seen.Time))
	} else {
		field(w, "as of", "unknown: %s", a.Seen.Why)
	}
	if a.From > 0 && a.Since.Known {
		field(w, "since", "%s: older entries may be left out", stamp(a.Since.Time))
	}
	for i := range a.Subjects {
		if len(a.Subjects[i].Standings) > 0 {
			field(w, "machine", "%s", v.short(string(a.Subjects[i].Identity)))
			printStandings(w, &a.Subjects[i])
		}
	}
	for _, n := range a.Names {
		if strings.HasPrefix(n.Name, index.Statements) || strings.HasPrefix(n.Name, index.Registrar) {
			field(w, "name", "%s", v.short(n.Name))
			field(w, "", "%d statements", len(n.Numbers))
			continue
		}
		times := "not claimed"
		if n.Present {
			times = "claimed once" + placesOf(a, n)
			if len(n.Numbers) > 1 {
				times = fmt.Sprintf("claimed %d times%s", len(n.Numbers), placesOf(a, n))
			}
		}
		field(w, "name", "%s", v.short(n.Name))
		field(w, "", "%s", times)
	}
}

// placesOf says where the entries of a name are proven to stand.
func placesOf(a *dossier.Answer, n dossier.Name) string {
	var places []string
	for i := range a.Entries {
		e := &a.Entries[i]
		if _, listed := slices.BinarySearch(n.Numbers, e.Number); !listed {
			continue
		}
		proof := e.Leaf().Proof
		if proof == nil {
			continue
		}
		if p := proof.ProvenPlace(); p.Provider.Value != "" {
			place := p.Provider.Value + "/" + max(p.Zone.Value, p.Region.Value)
			if !slices.Contains(places, place) {
				places = append(places, place)
			}
		}
	}
	switch {
	case len(places) == 0:
		return ""
	case len(places) == 1:
		return ", always in " + places[0]
	}
	return ", in " + strings.Join(places, ", ")
}

// indexWrong checks a file that shows a log's index to be wrong.
func (v *verifyCmd) indexWrong(cmd *cobra.Command, file []byte, _ receipt.Demands) error {
	policy, err := readTlogPolicy(cmd, v.policy)
	if err != nil {
		return err
	}
	found, err := dossier.CheckIndexWrong(file, policy)
	if err != nil {
		return err
	}
	what := "lists, and which does not state it"
	if found.Omitted {
		what = "leaves out, though it states it"
	}
	return v.answer(cmd, result{IndexWrong: found}, nil, func(w io.Writer, outcome string) {
		headline(w, outcome, v.shown(v.path)+" is proven")
		field(w, "seen", "the index of %s is wrong. Index entry %d, of all entries below %d, has a list of %s. It is wrong about entry %d, which it %s.", found.Origin, found.Number, found.Size, found.Name, found.Entry, what)
		field(w, "implicated", "log:%s", found.Origin)
		field(w, "stands on", "what the log itself published")
	})
}
