package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/publish/importer"
)

func newImportSNPCmd() *cobra.Command {
	f := new(importFlags)
	var kds string
	var cache cacheFlags
	c := &cobra.Command{
		Use:   "snp REPORT [CERTIFICATE…]",
		Short: "A SEV-SNP report: chip only",
		Long: "REPORT is a report alone, with the firmware's header, or with the certificate table of an extended request after it; or go-sev-guest's Attestation.\n" +
			"CERTIFICATE files have VCEK or VLEK, ASK or ASVK, and ARK: in PEM, in DER, or the kernel's auxblob. With --kds what is missing of a VCEK's is\n" +
			"fetched from AMD and kept: the certificate of a chip's key for one TCB version never changes.",
		Example: "  poclog import snp outblob auxblob -o vm.bundle.json\n  poclog import snp report.bin vcek.der cert_chain.pem -o vm.bundle.json\n" +
			"  poclog import snp report.bin --kds -o vm.bundle.json",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kds == "" {
				if err := unused(cmd, "without --kds nothing is fetched", "cache-dir", "appraisal"); err != nil {
					return err
				}
			}
			return f.run(cmd, args, func(_ importer.Extras, files [][]byte) (*importer.Import, error) {
				if kds == "" {
					return importer.SNP(files[0], files[1:]...)
				}
				return importFromKDS(cmd, kds, &cache, files)
			})
		},
	}
	f.register(c)
	c.Flags().StringVar(&kds, "kds", "", "fetch missing certificates of a VCEK from AMD's Key Distribution Service, or from a mirror: --kds=URL")
	c.Flags().Lookup("kds").NoOptDefVal = collateral.AMDKDS
	cache.registerCache(c)
	return c
}

// importFromKDS imports a report, and asks for the certificates that the files lack.
func importFromKDS(cmd *cobra.Command, url string, f *cacheFlags, files [][]byte) (*importer.Import, error) {
	im, err := importer.SNP(files[0], files[1:]...)
	if err != nil || im.Bundle.Has(poclog.ItemSNPCerts) {
		return im, err
	}
	p, err := f.readPolicy(cmd)
	if err != nil {
		return nil, err
	}
	k, err := collateral.NewKDS(url, filepath.Join(f.folder(), "vcek"), p.RootsFor(poclog.RootAMDARK), collateral.Config{UserAgent: softwareName(), Patience: patience(cmd)})
	if err != nil {
		return nil, usagef("--kds: %w", err)
	}
	certs, err := k.Certificates(cmd.Context(), im.Bundle.Get(poclog.ItemSNPReport))
	if err != nil {
		return nil, undecided(err)
	}
	return importer.SNP(files[0], certs)
}
