package poclog_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

// judged is the vector of a file: what this implementation's reader makes of it.
func (v vector) judged() vector {
	v.Expect = "refused"
	if _, err := v.read(); err == nil {
		v.Expect, v.Digest = "ok", poclog.Sum([]byte(v.Input)).String()
	}
	return v
}

// memberVectors leave out each member of each format in turn, and empty each list.
func memberVectors(t *testing.T, files map[string]string) map[string]vector {
	t.Helper()
	all := make(map[string]vector)
	add := func(name, desc, format, input string) {
		if format == "contradiction" { // the digest would refuse it, too
			input = string(sealed([]byte(input)))
		}
		all[name] = vector{Desc: desc, Format: format, Input: input}.judged()
	}
	for name, file := range files {
		format := formatOf(name)
		if format == "policy" || format == "registrars" { // files that people edit: JSON with indentation
			continue
		}
		for _, m := range spansOf(file) {
			if format == "contradiction" && m.path == "sha256" || strings.HasPrefix(m.path, "pages") && strings.Contains(m.path, "leaf.") {
				continue // leaves in a dossier are not read with it
			}
			if m.start < m.value {
				add(name+"-without-"+m.path, "without "+m.path, format, m.cut(file))
			}
			if strings.HasPrefix(file[m.value:m.end], "[") {
				add(name+"-empty-"+m.path, "an empty list: "+m.path, format, file[:m.value]+"[]"+file[m.end:])
			}
		}
	}
	return all
}

// formatOf is the format of a sample: its name may have a part more.
func formatOf(name string) string {
	for _, f := range []string{"index-wrong", "index-entry", "config-entry"} {
		if name == f {
			return f
		}
	}
	format, _, _ := strings.Cut(name, "-")
	return format
}

// A bound is a place in a sample, a value at its limit and one beyond it.
type bound struct {
	sample, path, what string
	at, beyond         string // JSON
}

// boundVectors are files at a limit and one over it.
func boundVectors(t *testing.T, files map[string]string) map[string]vector {
	t.Helper()
	all := make(map[string]vector)
	for _, b := range bounds() {
		file := files[b.sample]
		i := slices.IndexFunc(spansOf(file), func(m spanOf) bool { return m.path == b.path })
		if i < 0 {
			t.Fatalf("%s has no %s", b.sample, b.path)
		}
		m := spansOf(file)[i]
		for part, value := range map[string]string{"at": b.at, "beyond": b.beyond} {
			if value == "" {
				continue
			}
			v := vector{Desc: fmt.Sprintf("%s: %s its limit (%s)", b.path, part, b.what), Format: formatOf(b.sample), Input: file[:m.value] + value + file[m.end:]}
			if v.Format == "contradiction" {
				v.Input = string(sealed([]byte(v.Input)))
			}
			v = v.judged()
			if want := map[string]string{"at": "ok", "beyond": "refused"}[part]; v.Expect != want {
				_, err := v.read()
				t.Errorf("%s of %s, %s: %s (%v), want %s", b.path, b.sample, v.Desc, v.Expect, err, want)
			}
			all[b.sample+"-"+part+"-"+b.path+"-"+strings.ReplaceAll(b.what, " ", "-")] = v
		}
	}
	return all
}

func bounds() []bound {
	text := func(n int) string { return `"` + strings.Repeat("a", n) + `"` }
	list := func(n int, element func(i int) string) string {
		var parts []string
		for i := range n {
			parts = append(parts, element(i))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	word := func(i int) string { return fmt.Sprintf(`"a%04d"`, i) }
	digest := func(i int) string { return fmt.Sprintf(`"%064x"`, i+1) }
	ak := func(i int) string { return fmt.Sprintf(`"tpm:ak:%064x"`, i+1) }
	chassis := func(i int) string { return fmt.Sprintf(`"intel:tdx:piid:%032x"`, i+1) }
	octets := func(n int) string { return `"` + strings.Repeat("a1", n) + `"` }
	url64 := func(n int) string {
		return `"` + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, n)) + `"`
	}
	std64 := func(n int) string { return `"` + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, n)) + `"` }
	bank := func(i int) string { return fmt.Sprintf(`{"alg":"sha1","selected":[%d]}`, i) }
	answer := func(i int) string {
		return fmt.Sprintf(`{"kind":"amd-crl","url":"https://a.test/%04d","body":"AA"}`, i)
	}
	signature := func(i int) string { return fmt.Sprintf(`{"keyid":"SHA256:%d","sig":"AQ=="}`, i) }
	note := func(i int) string { return fmt.Sprintf(`{"id":"%08x","sig":"AQ"}`, i) }
	name := func(i int) string { return fmt.Sprintf(`{"name":"a%04d","proof":"AA"}`, i) }
	row := func(sample, path, what, at, beyond string) bound {
		return bound{sample: sample, path: path, what: what, at: at, beyond: beyond}
	}
	counted := func(sample, path string, max int, element func(int) string) bound {
		return row(sample, path, "list", list(max, element), list(max+1, element))
	}
	long := func(sample, path string, max int) bound { return row(sample, path, "length", text(max), text(max+1)) }
	return []bound{
		counted("entry", "chassis", 8, chassis), counted("entry", "keys", 8, ak), counted("entry", "place.provider.by", 8, word), counted("entry", "cvm.tcb.advisories", 64, word),
		counted("entry", "tpm.pcrs", 8, bank), counted("entry", "publishers", 16, digest), counted("entry", "checks", 64, word), counted("entry", "absent", 64, word),
		row("entry", "tpm.pcrs.0.selected", "number", "[31]", "[32]"),
		long("entry", "place.zone.value", 128), long("entry", "place.zone.by.0", 40), long("entry", "cvm.tcb.status", 40), long("entry", "cvm.tcb.advisories.1", 40),
		long("entry", "checks.0", 40), long("entry", "fresh.origin", 128), long("entry-endorsed", "endorsements.0.says", 255), long("config-entry", "software", 128),
		row("entry", "place.zone.value", "least length", text(1), text(0)), row("entry", "cvm.tcb.status", "least length", text(1), text(0)),
		row("entry", "fresh.origin", "least length", text(1), text(0)), row("entry", "checks.0", "least length", text(1), text(0)), row("config-entry", "software", "least length", text(1), text(0)),
		row("entry", "tpm.pcr_digest", "octets", octets(64), octets(65)), row("entry", "tpm.extra_data", "octets", octets(64), octets(65)),
		row("entry", "cvm.measurement", "octets", octets(48), octets(49)), row("entry", "cvm.fmspc", "octets", octets(6), octets(5)),
		row("entry", "tpm.reset_count", "32 bits", "4294967295", "4294967296"), row("entry", "evidence.bundle.size", "32 bits", "4294967295", "4294967296"),
		row("entry", "appraisal", "32 bits", "4294967295", "4294967296"), row("entry", "cvm.tcb.evaluation", "32 bits", "4294967295", "4294967296"),
		row("entry", "tpm.clock", "64 bits", `"18446744073709551615"`, `"18446744073709551616"`), row("entry", "fresh.size", "64 bits", `"18446744073709551615"`, `"18446744073709551616"`),
		row("entry", "tpm.clock", "number as string", `"0"`, "0"), row("entry", "tpm.restart_count", "number", "0", `"0"`),
		row("entry", "appraised", "first second", `"1970-01-01T00:00:00Z"`, `"1969-12-31T23:59:59Z"`), row("entry", "appraised", "last second", `"9999-12-31T23:59:59Z"`, `"10000-01-01T00:00:00Z"`),
		row("entry", "appraised", "a day that is", `"2028-02-29T00:00:00Z"`, `"2027-02-29T00:00:00Z"`), row("entry", "appraised", "whole seconds", `"2026-06-08T12:42:41Z"`, `"2026-06-08T12:42:41.0Z"`),
		row("entry", "instance", "64 bits", `"gce:instance:18446744073709551615:1"`, `"gce:instance:18446744073709551616:1"`),
		row("entry", "tpm.key_type", "key sizes", `"rsa-4096"`, `"rsa-4097"`), row("entry", "tpm.key_type", "key curves", `"ecc-p384"`, `"ecc-p521"`),
		row("entry-snp", "cvm.snp.policy", "64 bits", `"18446744073709551615"`, `"18446744073709551616"`), row("entry-snp", "cvm.snp.guest_svn", "32 bits", "4294967295", "4294967296"),
		row("index-entry", "algorithm", "32 bits", "4294967295", "4294967296"), row("index-entry", "algorithm", "least", "1", "0"), row("index-entry", "size", "64 bits", `"18446744073709551615"`, `"18446744073709551616"`),
		counted("collateral", "items", 16, answer), row("collateral", "items.0.url", "length", text(512), text(513)),
		row("collateral", "items.2.status", "least", "100", "99"), row("collateral", "items.2.status", "greatest", "599", "600"),
		row("contradiction", "rule", "length", text(40), text(41)),
		counted("envelope", "signatures", 16, signature), long("envelope", "signatures.0.keyid", 64), row("envelope", "signatures.0.sig", "octets", std64(160), std64(161)),
		counted("exceptions", "signatures", 4, note), long("exceptions", "origin", 255), row("exceptions", "signatures.0.sig", "octets", url64(4096), url64(4097)),
		row("exceptions", "auditor", "length", `"`+strings.Repeat("a", 248)+`/except"`, `"`+strings.Repeat("a", 249)+`/except"`),
		counted("dossier", "names", 64, name), long("dossier", "names.0.name", 176), row("dossier", "pages.0.entries.1.challenge", "number", "2000", "2001"), row("dossier", "pages.0.entries.1.challenge", "least", "1", "0"),
		row("dossier", "names.1.numbers", "ascending", `["7","8"]`, `["8","8"]`), row("dossier", "pages.0.entries.0.number", "64 bits", `"0"`, `"18446744073709551616"`),
		long("index-wrong", "name", 176),
	}
}
