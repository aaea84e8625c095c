package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/client/evidence"
)

func newImportCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Make a bundle of evidence that other tools took",
		Long:  "Make a bundle of evidence that other tools took. Nothing is judged here: `poclog verify` does. What the result cannot carry is said.",
	}
	c.AddCommand(newImportAzureCmd(), newImportGoTPMCmd(), newImportTDXCmd(), newImportCollateralCmd())
	return c
}

func newImportAzureCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "azure EVIDENCE CERTIFICATE…",
		Short: "Evidence of an Azure confidential VM",
		Long: "EVIDENCE is JSON with td_quote, hcl_report, ak_cert, ak_inter, sig, msg and pcrs, as attested-tls writes it. CERTIFICATE files in PEM\n" +
			"complete the chain of the attestation key up to its root.",
		Example: "  poclog import azure evidence.json azure-virtual-tpm-root-ca-2023.pem -o vm.bundle.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files [][]byte
			for _, path := range args {
				b, err := readFile(cmd, path, evidence.MaxFile)
				if err != nil {
					return err
				}
				files = append(files, b)
			}
			im, err := evidence.Azure(files[0], files[1:]...)
			return writeImport(cmd, &out, im, err)
		},
	}
	out.flags(c, "bundle")
	return c
}

func newImportGoTPMCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "gotpm FILE [CERTIFICATE…]",
		Short: "What `gotpm attest` of go-tpm-tools writes",
		Long: "FILE is an attest.Attestation, in protobuf's binary, text or JSON form. CERTIFICATE files in PEM complete the chain of the\n" +
			"attestation key up to its root.",
		Example: "  poclog import gotpm attestation.pb root.pem -o vm.bundle.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files [][]byte
			for _, path := range args {
				b, err := readFile(cmd, path, evidence.MaxFile)
				if err != nil {
					return err
				}
				files = append(files, b)
			}
			im, err := evidence.GoTPM(files[0], files[1:]...)
			return writeImport(cmd, &out, im, err)
		},
	}
	out.flags(c, "bundle")
	return c
}

func newImportTDXCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:     "tdx QUOTE",
		Short:   "A TDX quote: chip only",
		Example: "  poclog import tdx quote.bin -o vm.bundle.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			quote, err := readFile(cmd, args[0], evidence.MaxFile)
			if err != nil {
				return err
			}
			im, err := evidence.TDX(quote)
			return writeImport(cmd, &out, im, err)
		},
	}
	out.flags(c, "bundle")
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
			file, err := readFile(cmd, args[0], evidence.MaxFile)
			if err != nil {
				return err
			}
			col, err := evidence.Collateral(file)
			if err != nil {
				return err
			}
			b, err := col.Marshal()
			if err != nil {
				return err
			}
			return out.write(cmd, b)
		},
	}
	out.flags(c, "collateral")
	return c
}

// writeImport writes the bundle and says what became of the evidence.
func writeImport(cmd *cobra.Command, out *output, im *evidence.Import, err error) error {
	if err != nil {
		return err
	}
	if err := out.check(); err != nil {
		return err
	}
	b, err := im.Bundle.Marshal()
	if err != nil {
		return err
	}
	if err := out.write(cmd, b); err != nil {
		return err
	}
	for _, n := range im.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	return nil
}
