package snp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/specification"
)

func specified(t *testing.T) string {
	return specification.Section(t, "appraisal-1.md", "## 5. ", "## 7. ")
}

// filledReport is a report of a version with other octets in each field that may have any.
func filledReport(version uint32) []byte {
	b, r := make([]byte, ReportSize), rand.New(rand.NewPCG(1, 2))
	fill := func(from, n int) {
		for i := range n {
			b[from+i] = byte(r.Uint32())
		}
	}
	for _, f := range [][2]int{{4, 4}, {48, 4}, {56, 8}, {80, 64}, {144, 48}, {192, 32}, {224, 48}, {384, 8}, {416, 64}, {480, 8}, {496, 8}, {672, 48}, {744, 48}} {
		fill(f[0], f[1])
	}
	binary.LittleEndian.PutUint32(b, version)
	binary.LittleEndian.PutUint64(b[8:], 1<<17|3<<24|5)
	b[52], b[72] = 1, 4
	if version >= 3 {
		b[392], b[393], b[394] = 0x19, 0x11, 0x02
	}
	return b
}

// A report is read as the specification's table has it, field by field.
func TestReportIsLaidOutAsSpecified(t *testing.T) {
	for _, version := range []uint32{2, 3, 5} {
		b := filledReport(version)
		r, err := ParseReport(b)
		if err != nil {
			t.Fatal(err)
		}
		v, seen := reflect.ValueOf(r).Elem(), 0
		for _, row := range specification.Table(t, specified(t), "field", "offset", "size") {
			f := v.FieldByName(strings.Trim(row[0], "`"))
			if !f.IsValid() || version < 3 && strings.Contains(row[3], "from version 3 on") {
				continue
			}
			offset, err1 := strconv.Atoi(row[1])
			size, err2 := strconv.Atoi(row[2])
			have, err3 := binary.Append(nil, binary.LittleEndian, f.Interface())
			if err1 != nil || err2 != nil || err3 != nil || !bytes.Equal(have, b[offset:offset+size]) {
				t.Errorf("version %d: %s is %x, the page has %x", version, row[0], have, b[offset:offset+size])
			}
			seen++
		}
		if want := 12; seen < want {
			t.Errorf("version %d: %d fields in the page: want %d", version, seen, want)
		}
	}
}

// Octets are zero where the page says so, and nowhere else.
func TestReservedOctetsAreThoseSpecified(t *testing.T) {
	const says = "These octets MUST be zero: 76 to 79; 392 (from version 3 on: 395) to 415; 491; 495; 504 (version 5: 520) to 671."
	if !specification.Says(specified(t), says) {
		t.Fatalf("the page does not say that %q", says)
	}
	for _, version := range []uint32{2, 3, 4, 5} {
		from, to := 392, 504
		if version >= 3 {
			from = 395
		}
		if version == 5 {
			to = 520
		}
		for i := range ReportSize {
			b := filledReport(version)
			b[i] ^= 0x80
			_, err := ParseReport(b)
			isZero := i >= 76 && i <= 79 || i >= from && i <= 415 || i == 491 || i == 495 || i >= to && i <= 671 ||
				i >= 720 && i <= 743 || i >= 792
			ruled := i < 4 || i >= 8 && i < 16 || i >= 52 && i < 56 || i >= 72 && i < 76
			if refused := err != nil; refused != isZero && !ruled {
				t.Errorf("version %d: octet %d changed: refused %t, the page says %t", version, i, refused, isZero)
			}
		}
	}
}

func TestCertificateExtensionsAreThoseSpecified(t *testing.T) {
	section := specified(t)
	if !specification.Says(section, "extensions under "+oidAMD.String()+",") {
		t.Errorf("the page does not have %s", oidAMD)
	}
	for i, row := range specification.Table(t, section, "version", "octets 0 to 7 of TCB_VERSION are extensions `.3.`n") {
		var want []string
		for _, n := range layouts[i] {
			want = append(want, strconv.Itoa(n))
		}
		if row[0] != strconv.Itoa(i) || row[1] != strings.Join(want, ", ") {
			t.Errorf("row %v: the code has version %d, %v", row, i, layouts[i])
		}
	}
	for _, row := range specification.Table(t, section, "family", "model", "product") {
		family, err := strconv.ParseUint(row[0], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range strings.Split(row[1], ", ") {
			var from, to uint8
			if _, err := fmt.Sscanf(span, "%X to %X", &from, &to); err != nil {
				t.Fatal(err)
			}
			for m := int(from) - 1; m <= int(to)+1; m++ {
				if inside := m >= int(from) && m <= int(to); m >= 0 && inside && productOf(uint8(family), uint8(m)) != Product(row[2]) {
					t.Errorf("family %x, model %x: %q, the page says %s", family, m, productOf(uint8(family), uint8(m)), row[2])
				}
			}
		}
	}
	known := 0
	for f := range 256 {
		for m := range 256 {
			if productOf(uint8(f), uint8(m)) != "" {
				known++
			}
		}
	}
	if known != 16+32+32 {
		t.Errorf("%d processors are known: the page has 80", known)
	}
	if maxCRL != 262144 || !specification.Says(section, "at most 262,144 bytes each") || !specification.Says(section, oidDistributionPoint.String()) {
		t.Error("the page has another size or scope of lists")
	}
}
