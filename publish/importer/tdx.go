package importer

import "github.com/poclog/poclog"

// TDX imports a TDX quote, padded or not: the chip-only profile.
func TDX(quote []byte) (*Import, error) {
	im := &Import{Profile: poclog.TDX, Bundle: new(poclog.Bundle)}
	if err := im.setQuote(quote); err != nil {
		return nil, err
	}
	im.note("a TDX quote alone shows a genuine chip and what runs on it, not where the chip stands: level 0")
	return im, nil
}
