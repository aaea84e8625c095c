package importer

import (
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
)

// Extras are evidence that was taken beside another tool's: files as the system gives them, with
// padding. Empty ones are not there.
type Extras struct {
	TDXQuote  []byte // takes the place of the tool's own
	AK        []byte // TPMT_PUBLIC
	TCGLog    []byte
	CCEL      []byte
	Challenge []byte // as `poclog challenge` writes it
}

// Add puts evidence into the bundle. What does not parse is refused.
func (im *Import) Add(x Extras) error {
	for _, e := range []struct {
		item  poclog.Item
		name  string
		value []byte
		add   func([]byte) error
	}{
		{poclog.ItemTDXQuote, "TD quote", x.TDXQuote, im.setQuote},
		{poclog.ItemTPMAK, "AK", x.AK, func(b []byte) error {
			public, err := ReadPublic(b)
			return im.set(poclog.ItemTPMAK, public, err)
		}},
		{poclog.ItemTCGLog, "TPM's event log", x.TCGLog, func(b []byte) error {
			trimmed, err := ReadEventLog(tcglog.TPM, b)
			return im.set(poclog.ItemTCGLog, trimmed, err)
		}},
		{poclog.ItemCCEL, "CCEL", x.CCEL, func(b []byte) error {
			trimmed, err := ReadEventLog(tcglog.CCEL, b)
			return im.set(poclog.ItemCCEL, trimmed, err)
		}},
		{poclog.ItemChallenge, "challenge", x.Challenge, func(b []byte) error {
			_, err := poclog.ParseChallenge(b)
			return im.set(poclog.ItemChallenge, b, wrongFile(b, KindChallenge, err))
		}},
	} {
		if len(e.value) == 0 {
			continue
		}
		if im.Bundle.Has(e.item) {
			im.note("the %s that was given takes the place of the tool's own", e.name)
		}
		if err := e.add(e.value); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

func (im *Import) set(item poclog.Item, value []byte, err error) error {
	if err == nil {
		im.Bundle.Set(item, value)
	}
	return err
}

// setQuote takes a TD quote, and cuts its padding.
func (im *Import) setQuote(file []byte) error {
	padded, err := ReadQuote(file)
	if err != nil {
		return err
	}
	trimmed, err := tdx.TrimQuote(padded)
	if err != nil {
		return err
	}
	im.padded = nil
	if n := len(padded) - len(trimmed); n > 0 {
		im.padded = padded
		im.note("%d bytes of padding after the TD quote are cut", n)
	}
	im.Bundle.Set(poclog.ItemTDXQuote, trimmed)
	return nil
}
