package disclose

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/tpm"
)

// describe says for each item what it tells. TestEveryItemIsDescribed holds that none is missing.
var describe = map[poclog.Item]func(l *facts, b *poclog.Bundle, item []byte) error{
	poclog.ItemTDXQuote:   parsed(tdx.ParseQuote, tdxQuote),
	poclog.ItemSNPReport:  parsed(snp.ParseReport, snpReport),
	poclog.ItemSNPCerts:   parsed(snp.ParseChain, snpCertificates),
	poclog.ItemTPMQuote:   parsed(tpm.ParseQuote, tpmQuote),
	poclog.ItemTPMPCRs:    tpmPCRs,
	poclog.ItemTPMAK:      parsed(tpm.ParsePublic, tpmAK),
	poclog.ItemTPMAKChain: parsed(tpm.ParseChain, akChain),
	poclog.ItemTPMEKChain: parsed(tpm.ParseChain, ekChain),
	poclog.ItemTCGLog:     eventLog(tcglog.TPM, "the TPM's"),
	poclog.ItemCCEL:       eventLog(tcglog.CCEL, "the TD's"),
	poclog.ItemHCLReport:  parsed(tpm.ParseHCL, hclReport),
	poclog.ItemChallenge:  challenge,
}

// parsed describes an item that parses.
func parsed[T any](parse func(item []byte) (T, error), add func(l *facts, b *poclog.Bundle, v T)) func(*facts, *poclog.Bundle, []byte) error {
	return func(l *facts, b *poclog.Bundle, item []byte) error {
		v, err := parse(item)
		if err == nil {
			add(l, b, v)
		}
		return err
	}
}

// bundle lists what each item tells. One that cannot be read becomes public all the same.
func (l *facts) bundle(b *poclog.Bundle) {
	var names []string
	for _, i := range b.Items() {
		names = append(names, string(i))
	}
	if p, err := profile.Of(b); err == nil {
		l.add("profile", "%s", p)
	}
	l.add("evidence", "%s", strings.Join(names, ", "))
	for _, i := range b.Items() {
		if err := describe[i](l, b, b.Get(i)); err != nil {
			l.unread(string(i), b.Get(i), err)
		}
	}
}

// nonzero adds a register that is not all zero.
func (l *facts) nonzero(name string, value []byte) {
	if strings.Trim(string(value), "\x00") != "" {
		l.add(name, "%x", value)
	}
}

func tdxQuote(l *facts, _ *poclog.Bundle, q *tdx.Quote) {
	for _, id := range q.Platform.Identities() {
		l.add("chip", "%s", id)
	}
	l.add("platform", "FMSPC %x, PCEID %x, serial number %x of the chip's certificate", q.Platform.FMSPC, q.Platform.PCEID, q.PCK.SerialNumber)
	l.add("launch measurement", "%x", q.Body.MRTD)
	if q.Body.RTMRs != [4][48]byte{} {
		for i, r := range q.Body.RTMRs {
			l.vary(fmt.Sprintf("RTMR%d", i), "%x", r)
		}
	}
	l.nonzero("MRCONFIGID", q.Body.MRConfigID[:])
	l.nonzero("MROWNER", q.Body.MROwner[:])
	l.nonzero("MROWNERCONFIG", q.Body.MROwnerConfig[:])
	l.add("TD", "attributes %x, XFAM %x, TDX module %x of version %x", q.Body.TDAttributes, q.Body.XFAM, q.Body.MRSEAM, q.Body.TEETCBSVN)
	l.vary("report data", "%x", q.Body.ReportData)
	l.vary("quote", "%s", q.ID())
}

func snpReport(l *facts, _ *poclog.Bundle, r *snp.Report) {
	l.nonzero("chip id", r.ChipID[:])
	l.add("launch measurement", "%x", r.Measurement)
	l.add("guest", "policy %#x (%d), SVN %d, VMPL %d, signed by the chip's %s", r.Policy, r.Policy, r.GuestSVN, r.VMPL, r.Signer)
	l.add("firmware", "current %x, reported %x, committed %x, launch %x", r.Current, r.Reported, r.Committed, r.Launch)
	l.nonzero("ID key", r.IDKeyDigest[:])
	l.nonzero("host data", r.HostData[:])
	l.vary("report data", "%x", r.ReportData)
	l.vary("quote", "%s", r.ID())
}

func snpCertificates(l *facts, b *poclog.Bundle, c *snp.Chain) {
	if r, err := snp.ParseReport(b.Get(poclog.ItemSNPReport)); err == nil {
		if id, ok := c.ChipID(r); ok {
			l.add("chip", "%s", id)
		}
	}
	l.add("processor", "%s, certified by a %s", c.Product, c.Signer)
	if c.CSPID != "" {
		l.add("provider", "%s", c.CSPID)
	}
}

func tpmQuote(l *facts, _ *poclog.Bundle, q *tpm.Quote) {
	var banks []string
	for _, s := range q.Selection {
		banks = append(banks, fmt.Sprintf("%s %v", s.Alg, s.PCRs))
	}
	l.add("TPM's registers", "%s", strings.Join(banks, ", "))
	l.vary("TPM's clock", "%d ms, reset %d times, restarted %d times, safe %t", q.Clock, q.ResetCount, q.RestartCount, q.Safe)
	l.add("TPM's firmware", "%d", q.Firmware)
	l.vary("TPM's quote", "%s over %x, digest of the registers %x", q.Boot(), q.ExtraData, q.PCRDigest)
}

// firmwarePCRs are the registers of which an entry names the digest.
const firmwarePCRs = 8

func tpmPCRs(l *facts, b *poclog.Bundle, item []byte) error {
	q, err := tpm.ParseQuote(b.Get(poclog.ItemTPMQuote))
	if err != nil {
		return err
	}
	v, err := tpm.ParsePCRs(q, item)
	if err != nil {
		return err
	}
	for _, s := range q.Selection {
		var firmware []byte
		values := make([]string, 0, len(s.PCRs))
		for _, n := range s.PCRs {
			r, _ := v.Get(s.Alg, n)
			if values = append(values, fmt.Sprintf("%d: %x", n, r)); n < firmwarePCRs {
				firmware = append(firmware, r...)
			}
		}
		l.vary("firmware in "+s.Alg.String(), "%s", poclog.Sum(firmware))
		l.vary("PCRs in "+s.Alg.String(), "%s", strings.Join(values, ", "))
	}
	return nil
}

// key names a key as entries do.
func (l *facts) key(name, kind string, key crypto.PublicKey) {
	id, err := poclog.KeyIdentity(kind, key)
	if err != nil {
		l.add(name, "a key of type %T", key)
		return
	}
	l.add(name, "%s", id)
}

func tpmAK(l *facts, _ *poclog.Bundle, p *tpm.Public) {
	l.key("attestation key", poclog.TPMAK, p.Key())
	l.nonzero("attestation key's policy", p.AuthPolicy())
}

func akChain(l *facts, _ *poclog.Bundle, chain []*x509.Certificate) {
	l.key("attestation key", poclog.TPMAK, chain[0].PublicKey)
	l.add("attestation key's kind", "%s", tpm.KeyType(chain[0].PublicKey))
	l.certificates("attestation key", chain)
	if g, err := tpm.ParseGCEInstance(chain[0]); err == nil {
		l.add("instance", "%q (%d) of project %q (%d)", g.InstanceName, g.InstanceID, g.ProjectID, g.ProjectNumber)
		l.add("instance in the log", "%s", poclog.GCEInstanceIdentity(g.ProjectNumber, g.InstanceID))
		l.add("place", "gce, region %s, zone %s", g.Region(), g.Zone)
	}
	if p, err := tpm.ParsePlatform(chain[0]); err == nil {
		l.add("place", "%s, region %s, zone %s", p.Provider, p.Region, p.Zone)
		l.add("endorsement key", "SHA-256 %s", p.EK)
		if p.Chip != "" {
			l.add("chip", "%s", p.Chip)
		}
	}
	if tpm.CheckAzureAK(chain[0]) == nil {
		l.add("place", "azure")
	}
}

func ekChain(l *facts, _ *poclog.Bundle, chain []*x509.Certificate) {
	l.key("endorsement key", poclog.TPMEK, chain[0].PublicKey)
	l.certificates("endorsement key", chain)
}

// certificates lists what the certificates of a key say: the first is its own.
func (l *facts) certificates(of string, chain []*x509.Certificate) {
	leaf := chain[0]
	l.add(of+"'s certificate", "%q, serial number %x, by %q, from %s to %s", leaf.Subject, leaf.SerialNumber, leaf.Issuer,
		leaf.NotBefore.UTC().Format("2006-01-02"), leaf.NotAfter.UTC().Format("2006-01-02"))
	if names := names(leaf); len(names) > 0 {
		l.add(of+"'s certificate names", "%s", strings.Join(names, ", "))
	}
	for _, c := range chain[1:] {
		l.add(of+"'s issuer", "%q", c.Subject)
	}
}

// names are a certificate's names beside its subject, and the addresses that it gives.
func names(c *x509.Certificate) []string {
	list := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		list = append(list, u.String())
	}
	list = append(list, c.EmailAddresses...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	list = append(list, c.IssuingCertificateURL...)
	for i, name := range list {
		list[i] = strconv.Quote(name)
	}
	return list
}

func eventLog(kind tcglog.Kind, whose string) func(*facts, *poclog.Bundle, []byte) error {
	parse := func(item []byte) (*tcglog.Log, error) { return tcglog.Parse(kind, item) }
	return parsed(parse, func(l *facts, _ *poclog.Bundle, _ *tcglog.Log) {
		l.add(whose+" event log", "the whole boot, kernel command line included")
	})
}

func hclReport(l *facts, _ *poclog.Bundle, h *tpm.HCL) {
	l.add("VM", "%s", h.VMUniqueID)
	if id, err := poclog.AzureVMIdentity(h.VMUniqueID); err == nil {
		l.add("instance in the log", "%s", id)
	}
	if h.EK != nil {
		l.key("endorsement key", poclog.TPMEK, h.EK)
	}
	l.vary("paravisor's report", "%q", h.JSON)
}

func challenge(l *facts, _ *poclog.Bundle, item []byte) error {
	c, err := poclog.ParseChallenge(item)
	if err != nil {
		return err
	}
	cp, err := tlogpolicy.ParseCheckpoint(c.Checkpoint)
	if err != nil {
		return err
	}
	l.add("challenge by the log", "%s", cp.Origin)
	l.vary("challenge", "size %d, root %x, checkpoint %s, salt %x", cp.Size, cp.Root, poclog.Sum(c.Checkpoint), c.Salt)
	if c.UserData == poclog.Sum(nil) {
		l.vary("user data", "none")
	} else {
		l.vary("user data", "its SHA-256 %s", c.UserData)
	}
	return nil
}
