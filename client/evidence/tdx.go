package evidence

import (
	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tdx"
)

// TDX imports a TDX quote, padded or not: the chip-only profile.
func TDX(quote []byte) (*Import, error) {
	trimmed, err := tdx.TrimQuote(quote)
	if err != nil {
		return nil, err
	}
	im := &Import{Bundle: new(poclog.Bundle)}
	im.Bundle.Set(poclog.ItemTDXQuote, trimmed)
	if n := len(quote) - len(trimmed); n > 0 {
		im.note("%d bytes of padding after the quote are cut", n)
	}
	im.note("a TDX quote alone shows a genuine chip and what runs on it, not where the chip stands: level 0")
	return im, nil
}
