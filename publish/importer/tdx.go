package importer

import "github.com/poclog/poclog"

// TDX imports a TDX quote, padded or not: the chip-only profile.
func TDX(quote []byte) (*Import, error) {
	im := &Import{Profile: poclog.TDX, Bundle: new(poclog.Bundle)}
	if err := im.setQuote(quote); err != nil {
		return nil, err
	}
	im.note("a TDX quote alone shows a genuine chip and what runs on it, not where the chip stands: level 0")
	im.How = []string{
		"for a place, take the vTPM's evidence too: poclog import gotpm, azure or dstack",
		"for freshness: poclog challenge --profile tdx, its report_data as REPORTDATA, and --challenge here",
	}
	return im, nil
}
