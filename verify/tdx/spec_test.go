package tdx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/specification"
)

const page = "appraisal-1.md"

// pattern has another value at every place, as far as a place of 16 bits can tell.
func pattern(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = binary.BigEndian.AppendUint16(b, uint16(0x1000+i))
	}
	return b[:n]
}

// part is the octets of a row's field.
func part(t *testing.T, row []string, of []byte) []byte {
	t.Helper()
	offset, err1 := strconv.Atoi(row[1])
	size, err2 := strconv.Atoi(row[2])
	if err1 != nil || err2 != nil || offset+size > len(of) {
		t.Fatalf("row %v", row)
	}
	return of[offset : offset+size]
}

// The body is decoded as the specification's table has it, field by field.
func TestBodyIsLaidOutAsSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 3. ", "## 4. ")
	rows, b := specification.Table(t, section, "field of the body"), pattern(bodySize10)
	body := new(Body)
	body.decode(b)
	v := reflect.ValueOf(body).Elem()
	for _, row := range rows {
		f := v.FieldByName(strings.Trim(row[0], "`"))
		if !f.IsValid() {
			t.Errorf("there is no field %s", row[0])
			continue
		}
		have, err := binary.Append(nil, binary.BigEndian, f.Interface())
		if err != nil || !bytes.Equal(have, part(t, row, b)) {
			t.Errorf("%s is %x (%v), the page has %x", row[0], have, err, part(t, row, b))
		}
	}
	if len(rows) != v.NumField() {
		t.Errorf("%d fields in the page, %d in the code", len(rows), v.NumField())
	}
	sizes := specification.Table(t, section, "part", "octets")
	for _, want := range [][]string{
		{"header", strconv.Itoa(headerSize)}, {"descriptor, version 5 only", strconv.Itoa(descriptorSize)},
		{"body", fmt.Sprintf("%d, or %d", bodySize10, bodySize15)}, {"QE report", strconv.Itoa(qeReportSize)},
	} {
		if !slices.ContainsFunc(sizes, func(row []string) bool { return slices.Equal(row[:2], want) }) {
			t.Errorf("the page does not say that %v", want)
		}
	}
	if !strings.Contains(section, hex.EncodeToString(intelQE)) || !strings.Contains(section, "At most 65,536 bytes") || maxQuote != 65536 {
		t.Error("the page has another vendor id or size of a quote")
	}
}

func TestEnclaveReportIsLaidOutAsSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 3. ", "## 4. ")
	q := &Quote{qeReport: pattern(qeReportSize)}
	misc, attributes, signer, product, svn := q.qeFields()
	le := binary.LittleEndian
	have := map[string][]byte{
		"MISCSELECT": le.AppendUint32(nil, misc), "ATTRIBUTES": attributes, "MRSIGNER": signer, "ISVPRODID": le.AppendUint16(nil, product),
		"ISVSVN": le.AppendUint16(nil, svn), "REPORTDATA": q.qeReport[320:],
	}
	for _, row := range specification.Table(t, section, "field of the QE report") {
		if want := part(t, row, q.qeReport); !bytes.Equal(have[row[0]], want) {
			t.Errorf("%s is %x, the page has %x", row[0], have[row[0]], want)
		}
		delete(have, row[0])
	}
	if len(have) > 0 {
		t.Errorf("the page does not have %v", have)
	}
	if text := specification.Section(t, "format.md", "### 8.2 ", "## 9. "); !strings.Contains(text, hex.EncodeToString(intelSigner[:])) || !strings.Contains(text, fmt.Sprintf("| %d |", intelQEProduct)) {
		t.Error("§8.2 has another MRSIGNER or ISVPRODID")
	}
}

func TestNamesAndNumbersAreThoseSpecified(t *testing.T) {
	section := specification.Section(t, page, "## 3. ", "## 5. ")
	for _, want := range []string{
		nameRoot, namePlatformCA, nameProcessorCA, namePCK, nameTCBSigning, oidSGX.String() + ".1 |", oidTCB.String() + " |", oidSGX.String() + ".4 |",
		upToDate, outOfDate, revokedStatus, configuration, configurationSWHardening, outOfDateConfigurationNeed, "at most 524,288 bytes",
	} {
		if !specification.Says(section, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if maxBody != 524288 || oidPCESVN[len(oidPCESVN)-1] != 17 {
		t.Error("the page has another size of collateral, or OID of PCESVN")
	}
	rows := specification.Table(t, section, "platform is", "other is", "joined")
	all := []string{upToDate, outOfDate, revokedStatus, swHardening, configuration, configurationSWHardening, outOfDateConfigurationNeed}
	for _, platform := range all {
		for _, other := range all {
			have, err := converge(platform, other)
			if err != nil {
				have = "refused"
			}
			if want := joined(rows, platform, other); have != want {
				t.Errorf("%s and %s: %s, the page says %s", platform, other, have, want)
			}
		}
	}
}

// joined reads the page's table of statuses: the first row that fits counts.
func joined(rows [][]string, platform, other string) string {
	fits := func(cell, status string) bool {
		return cell == "any" || cell == "the same" && platform == other || strings.Contains(cell, "`"+status+"`")
	}
	for _, row := range rows {
		if !fits(row[0], platform) || !fits(row[1], other) {
			continue
		}
		switch row[2] {
		case "the platform's":
			return platform
		case "the other":
			return other
		}
		return strings.Trim(row[2], "`")
	}
	return ""
}
