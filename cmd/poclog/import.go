package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

func newImportCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Make a bundle of evidence that other tools took",
		Long: "Make a bundle of evidence that other tools took. Nothing is judged here: `poclog verify` does. Every importer prints one table: which checks the\n" +
			"result can carry, which it lost and why, and how to take evidence that carries them.",
	}
	c.AddCommand(newImportAzureCmd(), newImportDstackCmd(), newImportGoTPMCmd(), newImportSNPCmd(), newImportTDXCmd(), newImportCollateralCmd())
	return c
}

// importFlags are those of every importer of evidence.
type importFlags struct {
	out    output
	asJSON bool
	extras struct{ quote, ak, tcgLog, ccel, challenge string }
}

func (f *importFlags) register(c *cobra.Command) {
	f.out.flags(c, "bundle")
	fs := c.Flags()
	fs.BoolVar(&f.asJSON, "json", false, "print the table as JSON")
	fs.StringVar(&f.extras.challenge, "challenge", "", "the challenge that the evidence answers, as poclog challenge wrote it")
}

// registerTPM adds the flags of importers whose tool leaves evidence beside it.
func (f *importFlags) registerTPM(c *cobra.Command) {
	f.registerAK(c)
	fs := c.Flags()
	fs.StringVar(&f.extras.quote, "tdx-quote", "", "a TD quote that takes the place of the tool's own")
	fs.StringVar(&f.extras.tcgLog, "tcg-log", "", "the TPM's event log (/sys/kernel/security/tpm0/binary_bios_measurements)")
	fs.StringVar(&f.extras.ccel, "ccel", "", "the TD's event log (/sys/firmware/acpi/tables/data/CCEL)")
}

func (f *importFlags) registerAK(c *cobra.Command) {
	c.Flags().StringVar(&f.extras.ak, "ak", "", "the AK's TPMT_PUBLIC")
}

// read reads the files of the flags.
func (f *importFlags) read(cmd *cobra.Command) (x importer.Extras, err error) {
	for _, e := range []struct {
		path string
		into *[]byte
	}{{f.extras.quote, &x.TDXQuote}, {f.extras.ak, &x.AK}, {f.extras.tcgLog, &x.TCGLog}, {f.extras.ccel, &x.CCEL}, {f.extras.challenge, &x.Challenge}} {
		if *e.into, err = readOptional(cmd, e.path, importer.MaxFile); err != nil {
			return x, err
		}
	}
	return x, nil
}

// readFiles reads the arguments of an importer.
func readFiles(cmd *cobra.Command, paths []string) (files [][]byte, err error) {
	for _, path := range paths {
		b, err := readFile(cmd, path, importer.MaxFile)
		if err != nil {
			return nil, err
		}
		files = append(files, b)
	}
	return files, nil
}

// An imported is evidence of files that another tool took.
type imported func(x importer.Extras, files [][]byte) (*importer.Import, error)

// run imports the files of the arguments, adds what the flags name, writes the bundle and says what
// became of the evidence.
func (f *importFlags) run(cmd *cobra.Command, args []string, take imported) error {
	if err := f.out.check(); err != nil {
		return err
	}
	x, err := f.read(cmd)
	if err != nil {
		return err
	}
	var im *importer.Import
	files, err := readFiles(cmd, args)
	if err == nil {
		im, err = take(x, files)
	}
	if err == nil {
		err = im.Add(x)
	}
	if err != nil {
		return mistaken(err)
	}
	b, err := im.Bundle.Marshal()
	if err != nil {
		return err
	}
	o, err := outlookOf(im)
	if err != nil {
		return err
	}
	if err := f.out.write(cmd, b); err != nil {
		return err
	}
	w, how := f.out.words(cmd), recipe(cmd.Name(), im.Profile)
	if f.asJSON {
		return printOutlookJSON(w, im, o, how)
	}
	printOutlook(w, im, o, how)
	return nil
}

// outlookOf says which checks an import can carry.
func outlookOf(im *importer.Import) (*profile.Outlook, error) {
	o, err := profile.Look(im.Profile, im.Bundle)
	if err != nil || !im.QuotesPadding() {
		return o, err
	}
	for i := range o.Checks {
		if c := &o.Checks[i]; c.Check == verify.BindTEEInTPM && c.State != profile.Carried {
			c.Why = "the TPM quote's extraData is the SHA-256 of the TD quote with its padding, which a bundle does not hold"
		}
	}
	return o, nil
}

// A prospectJSON is a check in the table.
type prospectJSON struct {
	Check verify.Check  `json:"check"`
	State profile.State `json:"state"`
	Why   string        `json:"why,omitempty"`
	Lacks []poclog.Item `json:"lacks,omitempty"`
	How   string        `json:"how,omitempty"`
}

func printOutlookJSON(w io.Writer, im *importer.Import, o *profile.Outlook, how []string) error {
	out := struct {
		V       int            `json:"v"`
		Profile poclog.Profile `json:"profile"`
		Level   *int           `json:"level"` // that a judge can give at most; null if none accepts the bundle
		Items   []poclog.Item  `json:"items"`
		Checks  []prospectJSON `json:"checks"`
		Notes   []string       `json:"notes"`
		Missing []string       `json:"missing"` // what another file can mend
		How     []string       `json:"how"`
	}{1, o.Profile, &o.Level, im.Bundle.Items(), nil, append([]string{}, im.Notes...), []string{}, append([]string{}, how...)}
	for _, c := range o.Checks {
		out.Checks = append(out.Checks, prospectJSON{c.Check, c.State, c.Why, c.Lacks, howToCarry(o.Profile, &c)})
	}
	for _, m := range im.Missing {
		out.Missing = append(out.Missing, m.Error()+": "+howMissing(m))
	}
	if o.Level == profile.LevelNone {
		out.Level = nil
	}
	return printJSON(w, out)
}

// printOutlook shows each check on a line, and under what is lost how to get it.
func printOutlook(w io.Writer, im *importer.Import, o *profile.Outlook, how []string) {
	verdict := fmt.Sprintf("level %d at most", o.Level)
	if o.Level == profile.LevelNone {
		verdict = "no judge accepts it"
	}
	fmt.Fprintf(w, "profile %s: %s\n", o.Profile, verdict)
	said := make(map[string]bool) // each way once: one quote that is missing loses many checks
	for _, c := range o.Checks {
		labelled(w, fmt.Sprintf("  %-8s %-18s ", c.State, c.Check), c.Why)
		if way := howToCarry(o.Profile, &c); way != "" && !said[way] {
			labelled(w, fmt.Sprintf("  %-8s %-18s to get it: ", "", ""), way)
			said[way] = true
		}
	}
	if len(said) > 0 && len(how) > 0 {
		fmt.Fprintln(w, "to carry all that can be carried:")
		for i, h := range how {
			labelled(w, fmt.Sprintf("  %d. ", i+1), h)
		}
	}
	for _, n := range im.Notes {
		labelled(w, "note: ", n)
	}
	for _, m := range im.Missing {
		labelled(w, "missing: ", m.Error())
		labelled(w, "  to get it: ", howMissing(m))
	}
}

func newImportTDXCmd() *cobra.Command {
	f := new(importFlags)
	c := &cobra.Command{
		Use:     "tdx QUOTE",
		Short:   "A TDX quote: chip only",
		Example: "  poclog import tdx quote.bin -o vm.bundle.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args, func(_ importer.Extras, files [][]byte) (*importer.Import, error) { return importer.TDX(files[0]) })
		},
	}
	f.register(c)
	return c
}

func newImportGoTPMCmd() *cobra.Command {
	f := new(importFlags)
	c := &cobra.Command{
		Use:   "gotpm FILE [CERTIFICATE…]",
		Short: "What `gotpm attest` of go-tpm-tools writes",
		Long: "FILE is an attest.Attestation, in protobuf's binary, text or JSON form. CERTIFICATE files in PEM complete the chain of the\n" +
			"attestation key up to its root.",
		Example: "  poclog import gotpm attestation.pb intermediate.pem root.pem -o vm.bundle.json\n" +
			"  poclog import gotpm attestation.pb root.pem --tdx-quote quote.bin --ccel CCEL --challenge challenge.json -o vm.bundle.json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args, func(_ importer.Extras, files [][]byte) (*importer.Import, error) {
				return importer.GoTPM(files[0], files[1:]...)
			})
		},
	}
	f.register(c)
	f.registerTPM(c)
	return c
}

func newImportDstackCmd() *cobra.Command {
	f := new(importFlags)
	c := &cobra.Command{
		Use:   "dstack FILE…",
		Short: "What dstack's guest agent and dstack-util give",
		Long: "Each FILE is the JSON of GetQuote (quote, event_log, vm_config), of Attest (attestation), or of `dstack-util tpm-quote` (message, signature,\n" +
			"pcr_values, ak_cert); an attestation of version 1 as octets; or certificates in PEM that complete the chain of the attestation key.",
		Example: "  poclog import dstack attest.json intermediate.pem root.pem -o vm.bundle.json\n" +
			"  poclog import dstack quote.json tpm-quote.json root.pem --ak ak.pub --challenge challenge.json -o vm.bundle.json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args, func(_ importer.Extras, files [][]byte) (*importer.Import, error) {
				im, err := importer.Dstack(files...)
				if errors.Is(err, importer.ErrAttestationV0) {
					return nil, hint(err, `set "event_log_version": 2 in the app-compose.json, or give the JSON of GetQuote and of dstack-util tpm-quote`)
				}
				return im, err
			})
		},
	}
	f.register(c)
	f.registerTPM(c)
	return c
}

func newImportCollateralCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:     "collateral FILE",
		Short:   "Intel's collateral in the form of dcap-qvl",
		Example: "  poclog import collateral collateral.json -o intel.collateral.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			file, err := readFile(cmd, args[0], importer.MaxFile)
			if err != nil {
				return err
			}
			col, err := importer.Collateral(file)
			if err != nil {
				return err
			}
			return out.keep(cmd, col)
		},
	}
	out.flags(c, "collateral")
	return c
}
