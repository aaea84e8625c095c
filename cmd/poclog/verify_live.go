package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// A liveQuote is what a live connection's TEE says, authenticated: whose chip, and what was launched on it.
type liveQuote struct {
	chips       []poclog.Identity
	measurement []byte
}

// compareQuote holds a live connection's TEE quote to the receipt's chip and launch measurement. One of a TEE that its host can read is nobody's: the launch
// measurement does not tell it from others.
func (v *verifyCmd) compareQuote(cmd *cobra.Command, e *poclog.Entry) error {
	raw, err := readFile(cmd, v.quoteFile, poclog.MaxBundle)
	if err != nil {
		return err
	}
	read := liveTDX
	if e.CVM.Technology == "snp" {
		read = liveSNP
	}
	q, err := read(raw, e.Realm)
	if err != nil {
		return mistaken(fmt.Errorf("live quote: %w", err))
	}
	if !slices.Contains(q.chips, e.Chip()) {
		return fmt.Errorf("live quote: it is of chip %v, the receipt's is %s", q.chips, e.Chip())
	}
	if !bytes.Equal(q.measurement, e.CVM.Measurement) {
		return fmt.Errorf("live quote: its launch measurement %x is not the receipt's", q.measurement)
	}
	return nil
}

func liveTDX(raw []byte, realm poclog.Realm) (*liveQuote, error) {
	padded, err := importer.ReadQuote(raw)
	if err != nil {
		return nil, err
	}
	trimmed, err := tdx.TrimQuote(padded)
	if err != nil {
		return nil, err
	}
	q, err := tdx.ParseQuote(trimmed)
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{q.CheckSignature, func() error {
		return q.CheckChain(productionOrAny(realm, poclog.RootIntelSGX, q.Root.Raw), time.Now())
	}, q.CheckNoDebug} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return &liveQuote{q.Platform.Identities(), q.Body.MRTD[:]}, nil
}

// liveSNP reads a report with its certificates, in any form in which `poclog import snp` takes one file.
func liveSNP(raw []byte, realm poclog.Realm) (*liveQuote, error) {
	im, err := importer.SNP(raw)
	if err != nil {
		return nil, err
	}
	if !im.Bundle.Has(poclog.ItemSNPCerts) {
		return nil, errors.New("want the SEV-SNP report with its certificates: with the table of an extended request after it, or go-sev-guest's Attestation")
	}
	r, err := snp.ParseReport(im.Bundle.Get(poclog.ItemSNPReport))
	if err != nil {
		return nil, err
	}
	c, err := snp.ParseChain(im.Bundle.Get(poclog.ItemSNPCerts))
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{func() error {
		return c.CheckChain(r, productionOrAny(realm, poclog.RootAMDARK, c.Root.Raw), time.Now())
	}, func() error { return r.CheckSignature(c) }, r.CheckNoDebug} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	id, ok := c.ChipID(r)
	if !ok {
		return nil, errors.New("the host masks CHIP_ID, and a VLEK names no chip: nobody says which chip this is")
	}
	return &liveQuote{[]poclog.Identity{id}, r.Measurement[:]}, nil
}

// productionOrAny returns the roots for a live quote: in production the chip maker's, in the lab the quote's own, whose chip is compared next.
func productionOrAny(realm poclog.Realm, use poclog.RootUse, own []byte) map[[32]byte]bool {
	roots := make(map[[32]byte]bool)
	if realm == poclog.Lab {
		roots[poclog.Sum(own)] = true
		return roots
	}
	for _, r := range profile.ProductionRoots() {
		if r.Use == use {
			roots[r.SHA256] = true
		}
	}
	return roots
}
