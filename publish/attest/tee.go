package attest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-configfs-tsm/report"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
)

// tdxProvider is what configfs-tsm calls a TDX guest (Linux,
// Documentation/ABI/testing/configfs-tsm-report).
const tdxProvider = "tdx_guest"

// tsmTries is how often another process may use our report's entry before we give up.
const tsmTries = 3

// tdQuote has the platform quote the TD with these 64 bytes of REPORTDATA. The quote is returned as
// configfs gives it, with padding.
func (m *Machine) tdQuote(reportData [64]byte) (padded []byte, q *tdx.Quote, err error) {
	if padded, err = m.askTSM(reportData[:]); err != nil {
		return nil, nil, &MissingError{PieceTEE, err, RunInTDX}
	}
	trimmed, err := tdx.TrimQuote(padded)
	if err == nil {
		q, err = tdx.ParseQuote(trimmed)
	}
	if err != nil {
		return nil, nil, &MissingError{PieceTEE, fmt.Errorf("configfs-tsm: %w", err), RunInTDX}
	}
	if q.Body.ReportData != reportData {
		return nil, nil, fmt.Errorf("configfs-tsm: the quote has REPORTDATA %x: asked for %x", q.Body.ReportData, reportData)
	}
	return padded, q, nil
}

func (m *Machine) askTSM(inBlob []byte) ([]byte, error) {
	if m.TSM == nil {
		return nil, errors.New("there is no configfs-tsm")
	}
	client, err := m.TSM()
	if err != nil {
		return nil, fmt.Errorf("configfs-tsm: %w", err)
	}
	for try := 1; ; try++ {
		rsp, err := report.Get(client, &report.Request{InBlob: inBlob})
		if err != nil && report.GetGenerationErr(err) != nil && try < tsmTries {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("configfs-tsm: %w", err)
		}
		if p := strings.TrimSpace(rsp.Provider); p != tdxProvider {
			return nil, fmt.Errorf("configfs-tsm: the provider is %.40q: want %q", p, tdxProvider)
		}
		return rsp.OutBlob, nil
	}
}

// checkCCEL replays a bundle's CCEL to the registers of its TD quote.
func checkCCEL(b *poclog.Bundle) error {
	l, err := tcglog.Parse(tcglog.CCEL, b.Get(poclog.ItemCCEL))
	if err != nil {
		return err
	}
	q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote))
	if err != nil {
		return err
	}
	return l.CheckRTMRs(&q.Body.RTMRs)
}
