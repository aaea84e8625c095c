package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tdx"
)

// compareQuote holds the TEE quote of --quote to the receipt's chip and launch measurement.
func (v *verifyCmd) compareQuote(cmd *cobra.Command, e *poclog.Entry) error {
	raw, err := readFile(cmd, v.quoteFile, poclog.MaxBundle)
	if err != nil {
		return err
	}
	live, err := liveQuote(raw, e.CVM.Technology)
	if err != nil {
		return mistaken(fmt.Errorf("live quote: %w", err))
	}
	return profile.CompareLive(live, e, time.Now())
}

// liveQuote reads a TDX quote, or a SEV-SNP report with its certificates in any form in which
// `poclog import snp` takes one file.
func liveQuote(raw []byte, technology string) (*poclog.Bundle, error) {
	if technology != "snp" {
		padded, err := importer.ReadQuote(raw)
		if err != nil {
			return nil, err
		}
		trimmed, err := tdx.TrimQuote(padded)
		if err != nil {
			return nil, err
		}
		b := new(poclog.Bundle)
		b.Set(poclog.ItemTDXQuote, trimmed)
		return b, nil
	}
	im, err := importer.SNP(raw)
	if err != nil {
		return nil, err
	}
	if !im.Bundle.Has(poclog.ItemSNPCerts) {
		return nil, errors.New("want the SEV-SNP report with its certificates: with the table of an extended request after it, or go-sev-guest's Attestation")
	}
	return im.Bundle, nil
}
