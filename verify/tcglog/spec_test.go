package tcglog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/specification"
)

const page = "appraisal-1-tpm.md"

// Types of events, limits and registers are those of the specification.
func TestLogsAreAsSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 5. ", "## 6. ")
	types := map[string]uint32{
		"EV_NO_ACTION": evNoAction, "EV_SEPARATOR": evSeparator, "EV_EVENT_TAG": evEventTag, "EV_NONHOST_INFO": evNonhostInfo,
		"EV_EFI_PLATFORM_FIRMWARE_BLOB2": evFirmwareBlob2, "EV_EFI_HANDOFF_TABLES2": evHandoffTables2, "EV_EFI_HCRTM_EVENT": evHCRTM,
	}
	for _, row := range specification.Table(t, section, "type", "value") {
		if have, ok := types[row[0]]; !ok || row[1] != fmt.Sprintf("`%08x`", have) {
			t.Errorf("row %v: the code has %08x", row, have)
		}
		delete(types, row[0])
	}
	if len(types) > 0 {
		t.Errorf("the page does not have %v", types)
	}
	for _, want := range []string{
		"At most 1,048,576 octets, 8,192 events and " + strconv.Itoa(maxAlgs) + " algorithms", "each PCR n from 0 to " + strconv.Itoa(lastMappedPCR) + " that has events or is 0 to 9 or 14",
		"PCR 17 to 22: ones", "1 to 4 are RTMR0 to RTMR3", "octet more, 0 to " + strconv.Itoa(maxLocality), strings.Trim(specID, "\x00"), strings.Trim(startupLocality, "\x00"),
	} {
		if !specification.Says(section, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if MaxLog != 1048576 || maxEvents != 8192 || firstDRTM != 17 || lastDRT != 22 || !slices.Equal(CheckedPCRs, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14}) {
		t.Error("the page has other limits or registers")
	}
	if technology := specification.Section(t, page, "## 7. ", "## 8. "); !specification.Says(technology, "`"+strings.Trim(gceNonHostInfo, "\x00")+"`") || !specification.Says(technology, fmt.Sprintf("the next octet is %d (TDX)", GCETechnologyTDX)) {
		t.Error("the page has another technology")
	}
}

// What is on one side alone is what the specification's table has.
func TestCrossCheckIsAsSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 6. ", "## 7. ")
	names := map[uint32]string{evHandoffTables2: "EV_EFI_HANDOFF_TABLES2", evFirmwareBlob2: "EV_EFI_PLATFORM_FIRMWARE_BLOB2"}
	for r, row := range specification.Table(t, section, "RTMR", "PCRs") {
		var pcrs []int
		for pcr := range uint32(24) {
			if at, ok := registerOf(pcr); ok && at == r {
				pcrs = append(pcrs, int(pcr))
			}
		}
		span := fmt.Sprintf("%d to %d", pcrs[0], pcrs[len(pcrs)-1])
		if len(pcrs) == 2 {
			span = fmt.Sprintf("%d, %d", pcrs[0], pcrs[1])
		}
		alone := fmt.Sprintf("exactly %d EV_SEPARATOR", oneSided[r].separators)
		if oneSided[r].tags > 0 {
			alone = fmt.Sprintf("at most %d EV_EVENT_TAG of PCR 9", oneSided[r].tags)
		}
		first := "none"
		for i, kind := range oneSided[r].first {
			first = []string{"exactly ", first + ", then "}[i] + names[kind]
		}
		if want := []string{strconv.Itoa(r), span, alone, first}; !slices.Equal(row, want) {
			t.Errorf("row %q: the code has %q", row, want)
		}
	}
}
