package poclog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// A CollateralKind says what a piece of collateral is and who signed it.
type CollateralKind string

// The kinds of collateral, in the order in which a file holds them. docs/format.md §4 specifies the
// body and chain of each.
const (
	TDXTCBInfo        CollateralKind = "tdx-tcb-info"       // Intel PCS: {"tcbInfo":…,"signature":…}
	TDXQEIdentity     CollateralKind = "tdx-qe-identity"    // Intel PCS: {"enclaveIdentity":…,"signature":…}
	IntelPCKCRL       CollateralKind = "intel-pck-crl"      // DER, by the CA of the PCK certificate
	IntelRootCRL      CollateralKind = "intel-root-crl"     // DER, by the Intel SGX Root CA
	AMDCRL            CollateralKind = "amd-crl"            // DER, by the ARK
	LaunchEndorsement CollateralKind = "launch-endorsement" // the provider's signed statement on a launch measurement
	ChipRegistry      CollateralKind = "chip-registry"      // the provider's unsigned answer on a chip
	AllianceToken     CollateralKind = "alliance-token"     // a registry's signed token on a quote: compact JWS
	OwnerEndorsement  CollateralKind = "owner-endorsement"  // Intel Platform Ownership Endorsement: COSE_Sign1 over CoRIM
)

var collateralKinds = []CollateralKind{
	TDXTCBInfo, TDXQEIdentity, IntelPCKCRL, IntelRootCRL, AMDCRL, LaunchEndorsement, ChipRegistry, AllianceToken, OwnerEndorsement,
}

const (
	maxCollateralItems = 16
	maxURL             = 512
)

// MaxShown is the size of the largest quote with its padding that a registry's token can be about,
// in bytes.
const MaxShown = 1 << 16

// Signed reports whether the issuer signs this kind. What is unsigned only the judge fetches, and
// keeps with URL, time and status.
func (k CollateralKind) Signed() bool { return k != ChipRegistry }

// A CollateralItem is one answer, exactly as received.
type CollateralItem struct {
	Kind   CollateralKind
	URL    string    // where it was asked for; empty where it came otherwise
	Time   time.Time // when an unsigned answer was received, to the second; zero for signed kinds
	Status uint32    // HTTP status of an unsigned answer (404 is an answer); zero for signed kinds
	Shown  uint32    // alliance tokens: bytes of the quote as the registry was shown it, with zeros after it, 1 to MaxShown; zero where it had none
	Chain  []byte    // the issuer's certificate chain in PEM as it came beside the body; empty where none did
	Body   []byte    // the answer's body; empty only for unsigned kinds
}

// Collateral is what others publish to judge a bundle, as one file (docs/format.md §4): items in
// order of kind and URL, no two of one kind with one URL. The zero value is no collateral.
type Collateral struct {
	Items []CollateralItem
}

// Get returns the first item of a kind, or nil.
func (c *Collateral) Get(kind CollateralKind) *CollateralItem {
	if c == nil {
		return nil
	}
	for i := range c.Items {
		if c.Items[i].Kind == kind {
			return &c.Items[i]
		}
	}
	return nil
}

// All returns the items of a kind, in their order.
func (c *Collateral) All(kind CollateralKind) []CollateralItem {
	var list []CollateralItem
	if c != nil {
		for _, it := range c.Items {
			if it.Kind == kind {
				list = append(list, it)
			}
		}
	}
	return list
}

// With returns a copy that holds the items too, each in the place of one of its kind and URL.
func (c *Collateral) With(items ...CollateralItem) *Collateral {
	out := new(Collateral)
	if c != nil {
		out.Items = slices.Clone(c.Items)
	}
	for _, it := range items {
		at, found := slices.BinarySearchFunc(out.Items, it, compareCollateral)
		if found {
			out.Items[at] = it
		} else {
			out.Items = slices.Insert(out.Items, at, it)
		}
	}
	return out
}

func compareCollateral(a, b CollateralItem) int {
	return cmp.Or(cmp.Compare(slices.Index(collateralKinds, a.Kind), slices.Index(collateralKinds, b.Kind)), cmp.Compare(a.URL, b.URL))
}

// check refuses an item that could not be written canonically.
func (it *CollateralItem) check() error {
	switch {
	case slices.Index(collateralKinds, it.Kind) < 0:
		return fmt.Errorf("collateral %.40q: unknown kind", it.Kind)
	case !canon.Printable(it.URL) || len(it.URL) > maxURL:
		return fmt.Errorf("collateral %s: URL %.80q: want at most %d printable ASCII bytes", it.Kind, it.URL, maxURL)
	case it.Kind.Signed() && (len(it.Body) == 0 || it.Status != 0 || !it.Time.IsZero()):
		return fmt.Errorf("collateral %s: want a body, and neither time nor status", it.Kind)
	case !it.Kind.Signed() && (it.URL == "" || it.Status < 100 || it.Status > 599 || it.Time.IsZero()):
		return fmt.Errorf("collateral %s: want URL, time and HTTP status", it.Kind)
	case it.Shown != 0 && (it.Kind != AllianceToken || it.Shown > MaxShown):
		return fmt.Errorf("collateral %s: quote_size %d: want it in tokens of registries only, 1 to %d", it.Kind, it.Shown, MaxShown)
	case !it.Kind.Signed() && it.Time.Nanosecond() != 0:
		return fmt.Errorf("collateral %s: time %s: want whole seconds", it.Kind, it.Time.Format(time.RFC3339Nano))
	}
	return nil
}

// Marshal returns the collateral's file. It fails if an item is malformed, out of order or
// repeated, or the file is over MaxCollateral.
func (c *Collateral) Marshal() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	file, err := canon.Write(MaxCollateral, c.code)
	if err != nil {
		return nil, fmt.Errorf("encode collateral: %w", err)
	}
	return file, nil
}

func (c *Collateral) code(x *canon.Codec) {
	x.Lit(`{"v":1`)
	canon.List(x.Member("items"), "items", &c.Items, maxCollateralItems, func(it *CollateralItem) { it.code(x) })
	x.Lit("}")
}

func (c *Collateral) check() error {
	if len(c.Items) > maxCollateralItems {
		return fmt.Errorf("collateral: %d items: want at most %d", len(c.Items), maxCollateralItems)
	}
	for i := range c.Items {
		if err := c.Items[i].check(); err != nil {
			return err
		}
		if i > 0 && compareCollateral(c.Items[i-1], c.Items[i]) >= 0 {
			return fmt.Errorf("collateral: %s %q: repeated or out of order", c.Items[i].Kind, c.Items[i].URL)
		}
	}
	return nil
}

func (it *CollateralItem) code(c *canon.Codec) {
	c.Object(func() {
		canon.Str(c.Member("kind"), &it.Kind, 40)
		if c.Optional("url", it.URL != "") {
			canon.Word(c, "url", &it.URL, maxURL)
		}
		if !it.Kind.Signed() {
			c.Member("time").Time(&it.Time)
			c.Member("status").Uint32(&it.Status)
		}
		if c.Optional("quote_size", it.Shown != 0) {
			c.Uint32(&it.Shown)
			c.Check(it.Shown != 0, "quote_size: 0 is left out")
		}
		c.OptionalBase64("chain", &it.Chain, MaxCollateral)
		c.OptionalBase64("body", &it.Body, MaxCollateral)
	})
}

// ParseCollateral parses a collateral file.
func ParseCollateral(file []byte) (*Collateral, error) {
	if len(file) > MaxCollateral {
		return nil, fmt.Errorf("collateral of %d bytes: want at most %d", len(file), MaxCollateral)
	}
	c := new(Collateral)
	if err := canon.Read(file, c.code); err != nil {
		return nil, fmt.Errorf("parse collateral: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("parse collateral: %w", err)
	}
	return c, nil
}
