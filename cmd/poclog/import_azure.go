package main

import (
	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
)

func newImportAzureCmd() *cobra.Command {
	f := new(importFlags)
	var live bool
	var tpm, imds string
	c := &cobra.Command{
		Use:   "azure EVIDENCE CERTIFICATE… | azure --live CERTIFICATE…",
		Short: "Evidence of an Azure confidential VM, from a file or from the VM itself",
		Long: "EVIDENCE is what attested-tls writes (YAML or JSON with tdx_quote_base64, hcl_report_base64 and tpm_attestation), or Confidential Containers (JSON with\n" +
			"tpm_quote, hcl_report, and td_quote or vcek; also inside of a member evidence). With --live, in the VM, the TPM gives HCL report, AK certificate and a\n" +
			"quote, and the instance metadata service the TD quote or the certificates of AMD's chip; with --challenge the report carries its nonce.\n\n" +
			"CERTIFICATE files, in PEM or DER and with padding or without, complete the chain of the attestation key from its own certificate up to its root; of a\n" +
			"SEV-SNP VM also VCEK, ASK and ARK, or the metadata service's JSON.",
		Example: "  poclog import azure evidence.yaml azure-virtual-tpm-root-ca-2023.pem -o vm.bundle.json\n" +
			"  poclog import azure snp-vm.json certification.json azure-virtual-tpm-root-ca-2023.pem -o vm.bundle.json\n" +
			"  poclog import azure --live --challenge challenge.json intermediate.pem root.pem -o vm.bundle.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if !live && len(args) == 0 {
				return hint(usagef("which file holds the evidence?"), "--live reads it from the VM on which this runs")
			}
			if !live {
				if err := unused(cmd, "without --live no machine is read", "tpm", "imds"); err != nil {
					return err
				}
			}
			return f.run(cmd, args, func(x importer.Extras, files [][]byte) (*importer.Import, error) {
				if !live {
					return importer.Azure(files[0], files[1:]...)
				}
				return azureLive(cmd, tpm, imds, x, files)
			})
		},
	}
	f.register(c)
	f.registerAK(c)
	c.Flags().BoolVar(&live, "live", false, "read the evidence from the VM on which this runs")
	c.Flags().StringVar(&tpm, "tpm", "/dev/tpmrm0", "the TPM, for --live: a device or a socket")
	c.Flags().StringVar(&imds, "imds", importer.AzureIMDS, "the instance metadata service, for --live")
	return c
}

// azureLive reads the machine on which it runs.
func azureLive(cmd *cobra.Command, address, imds string, x importer.Extras, certs [][]byte) (*importer.Import, error) {
	vm := importer.AzureVM{IMDS: &importer.IMDS{URL: imds}}
	if len(x.Challenge) > 0 {
		var err error
		if vm.Challenge, err = poclog.ParseChallenge(x.Challenge); err != nil {
			return nil, err
		}
	}
	tpm, err := importer.OpenTPM(address)
	if err != nil {
		return nil, undecided(err)
	}
	defer tpm.Close() // it was read, and nothing is kept in it
	vm.TPM = tpm
	im, err := vm.Import(cmd.Context(), certs...)
	return im, undecided(err)
}
