package poclog

import (
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// An Item names one piece of evidence in a bundle.
type Item string

// The items, in the order in which a bundle holds them. docs/format.md §3 specifies the bytes of
// each.
const (
	ItemTDXQuote   Item = "tdx-quote"    // TDX quote, version 4 or 5, without padding
	ItemSNPReport  Item = "snp-report"   // SEV-SNP attestation report, 1,184 bytes
	ItemSNPCerts   Item = "snp-certs"    // VCEK or VLEK, ASK or ASVK, ARK: DER, concatenated
	ItemTPMQuote   Item = "tpm-quote"    // TPM2B_ATTEST ‖ TPMT_SIGNATURE, as TPM2_Quote answers
	ItemTPMPCRs    Item = "tpm-pcrs"     // the values of the quote's selected PCRs, in its order, concatenated
	ItemTPMAK      Item = "tpm-ak"       // TPMT_PUBLIC of the AK
	ItemTPMAKChain Item = "tpm-ak-chain" // the AK's certificate up to and with the root: DER, concatenated
	ItemTPMEKChain Item = "tpm-ek-chain" // the EK's certificate up to and with the root: DER, concatenated
	ItemTCGLog     Item = "tcg-log"      // the TPM's crypto-agile event log
	ItemCCEL       Item = "ccel"         // the confidential computing event log
	ItemHCLReport  Item = "hcl-report"   // Azure's HCL report
	ItemChallenge  Item = "challenge"    // a Challenge
)

var items = []Item{
	ItemTDXQuote, ItemSNPReport, ItemSNPCerts, ItemTPMQuote, ItemTPMPCRs, ItemTPMAK, ItemTPMAKChain, ItemTPMEKChain,
	ItemTCGLog, ItemCCEL, ItemHCLReport, ItemChallenge,
}

// Items returns every item in the order in which a bundle holds them.
func Items() []Item { return append([]Item(nil), items...) }

// MediaType returns the media type with which the item stands in a bundle.
func (i Item) MediaType() string { return "application/vnd.poclog." + string(i) }

// Types of the collection (draft-ietf-rats-msg-wrap §3.3) and of its members: conceptual message
// type 4 is evidence.
const (
	collectionMember = "__cmwc_t"
	collectionType   = "tag:poclog.dev,2026:bundle"
	evidenceMessage  = "4"
)

// A Bundle is one confidential VM's evidence: a RATS conceptual messages wrapper collection in
// canonical JSON (docs/format.md §3). No item is empty. The zero value is an empty bundle.
type Bundle struct {
	items map[Item][]byte
}

// Get returns an item's bytes, or nil. The caller must not change them.
func (b *Bundle) Get(i Item) []byte { return b.items[i] }

// Has reports whether the bundle holds the item.
func (b *Bundle) Has(i Item) bool { return len(b.items[i]) > 0 }

// TEE returns what the TEE signed, which a TPM quotes and a registry of hardware is shown: the
// SEV-SNP report, or the TD quote.
func (b *Bundle) TEE() []byte {
	if b.Has(ItemSNPReport) {
		return b.Get(ItemSNPReport)
	}
	return b.Get(ItemTDXQuote)
}

// Challenge parses the challenge that the evidence answers. Historical evidence has none, which is
// an error.
func (b *Bundle) Challenge() (*Challenge, error) { return ParseChallenge(b.Get(ItemChallenge)) }

// Set replaces an item; empty bytes remove it.
func (b *Bundle) Set(i Item, value []byte) {
	if b.items == nil {
		b.items = make(map[Item][]byte)
	}
	delete(b.items, i)
	if len(value) > 0 {
		b.items[i] = value
	}
}

// Clone returns a copy whose items can be set without changing b.
func (b *Bundle) Clone() *Bundle {
	c := new(Bundle)
	for i, v := range b.items {
		c.Set(i, v)
	}
	return c
}

// Items returns the names of the items that the bundle holds, in order.
func (b *Bundle) Items() []Item {
	var have []Item
	for _, i := range items {
		if b.Has(i) {
			have = append(have, i)
		}
	}
	return have
}

// Marshal returns the bundle's file. It fails if the bundle is empty, over MaxBundle or holds an
// unknown item.
func (b *Bundle) Marshal() ([]byte, error) {
	have := b.Items()
	if len(have) == 0 || len(have) != len(b.items) {
		return nil, fmt.Errorf("bundle: %d items of which %d are known: want at least one, and no unknown one", len(b.items), len(have))
	}
	file, err := canon.Write(MaxBundle, b.code)
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return file, nil
}

func (b *Bundle) code(c *canon.Codec) {
	c.Object(func() {
		c.Member(collectionMember).Lit(`"` + collectionType + `"`)
		for _, i := range items {
			if !c.Optional(string(i), b.Has(i)) {
				continue
			}
			value := b.items[i]
			c.Lit(`["` + i.MediaType() + `",`)
			c.Base64(&value, MaxBundle)
			c.Lit("," + evidenceMessage + "]")
			b.Set(i, value)
		}
	})
}

// ParseBundle parses a bundle's file. It refuses unknown, repeated, empty and misordered items.
func ParseBundle(file []byte) (*Bundle, error) {
	if len(file) > MaxBundle {
		return nil, fmt.Errorf("bundle of %d bytes: want at most %d", len(file), MaxBundle)
	}
	b := new(Bundle)
	if err := canon.Read(file, b.code); err != nil {
		return nil, fmt.Errorf("parse bundle: %w", err)
	}
	if len(b.items) == 0 {
		return nil, fmt.Errorf("parse bundle: it holds no evidence")
	}
	return b, nil
}
