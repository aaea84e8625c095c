package agree

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A mutator changes files: always the same for one seed.
type mutator struct{ *rand.Rand }

func pick[T any](m *mutator, all []T) T { return all[m.IntN(len(all))] }

// chance is true once in n times.
func (m *mutator) chance(n int) bool { return m.IntN(n) == 0 }

var bits = []string{
	"", " ", "\n", "\n\n", "\t", "\r", "\x00", "\x7f", "\x80", "\xff", "\"", "\\", "\\\"", "\\u0041", "=", "+", "/", "-", "_", "0", "1", "9", "a", "A", "z", "{", "}", "[", "]", ",", ":",
	"null", "true", "\u00a0", "\u2028", "\u0085", "\u2014 ", "é", "\xef\xbb\xbf", "critical", "—", "#", "none", "group", "all", "any", "http://", "https://a",
}

// bytes changes a few bytes somewhere.
func (m *mutator) bytes(b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + m.IntN(3) {
		at := m.IntN(len(b) + 1)
		end := min(len(b), at+m.IntN(1+m.IntN(16)))
		switch m.IntN(7) {
		case 0: // a bit
			if at < len(b) {
				b[at] ^= 1 << m.IntN(8)
			}
		case 1: // a byte
			if at < len(b) {
				b[at] = byte(m.IntN(256))
			}
		case 2: // less
			b = append(b[:at:at], b[end:]...)
		case 3: // twice
			b = append(b[:end:end], b[at:]...)
		case 4, 5: // something of the formats
			b = append(b[:at:at], append([]byte(pick(m, bits)), b[at:]...)...)
		case 6:
			if m.chance(4) {
				b = b[:at]
			}
		}
	}
	return b
}

var scalars = []string{
	`0`, `1`, `2`, `3`, `16`, `17`, `60`, `255`, `256`, `65536`, `65537`, `86400`, `86401`, `2147483647`, `2147483648`, `4294967295`, `4294967296`, `18446744073709551615`, `18446744073709551616`,
	`-1`, `01`, `1.0`, `1e3`, `null`, `true`, `false`, `""`, `"0"`, `"1"`, `"01"`, `"-1"`, `"9223372036854775807"`, `"9223372036854775808"`, `"18446744073709551615"`, `"18446744073709551616"`,
	`"2026-06-08T12:42:41Z"`, `"0000-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"1969-12-31T23:59:59Z"`, `"1970-01-01T00:00:00Z"`, `"1970-01-01T00:00:01Z"`, `"2024-02-29T00:00:00Z"`, `"2023-02-29T00:00:00Z"`,
	`"2026-06-08T24:00:00Z"`, `"2026-06-30T23:59:60Z"`, `"9999-12-31T23:59:59Z"`, `"2001-09-09T01:46:39Z"`, `"2001-09-09T01:46:40Z"`, `"2286-11-20T17:46:39Z"`, `"2286-11-20T17:46:40Z"`, `{}`, `[]`, `[[]]`, `" "`, `"~"`, `"é"`, `"\n"`,
	`"gce"`, `"azure"`, `"vlek"`, `"ak-certificate"`, `"aia-hint"`, `"production"`, `"lab"`, `"tdx"`, `"snp"`, `"proof"`, `"config"`, `"statement"`, `"index"`, `"gce-tdx-vtpm"`, `"baremetal-tdx-tpm"`, `"azure-snp-vtpm"`, `"azure-tdx-vtpm"`,
	`"sha1"`, `"sha256"`, `"sha384"`, `"sha512"`, `"rsa-2048"`, `"rsa-2049"`, `"rsa-4096"`, `"rsa-02048"`, `"ecc-p384"`, `"ecc-p521"`, `"UpToDate"`, `"Revoked"`, `"provider"`, `"policy"`, `"Milan"`, `"Turin"`, `"vcek"`,
	`"amd-ark"`, `"platform-owner"`, `"chip-registry"`, `"alliance-token"`, `"owner-endorsement"`, `"amd-crl"`, `"AA"`, `"AB"`, `"AAA"`, `"tee.chain"`, `"bind.ak-in-tee"`, `"fresh.challenge"`,
}

// tree changes a value: members and items go, come twice, change places, names and values.
func (m *mutator) tree(v *tree) *tree {
	v = v.clone()
	for range 1 + m.IntN(2) {
		m.change(v)
	}
	return v
}

func (m *mutator) change(v *tree) {
	nodes := v.nodes()
	n := pick(m, nodes)
	if n.kind == 0 || m.chance(12) {
		*n = *m.value(n, nodes)
		return
	}
	if len(n.kids) == 0 {
		*n = tree{raw: pick(m, scalars)}
		return
	}
	i, j := m.IntN(len(n.kids)), m.IntN(len(n.kids))
	name := func(i int) string {
		if n.kind == '{' {
			return n.names[i]
		}
		return ""
	}
	switch m.IntN(6) {
	case 0, 1:
		n.remove(i)
	case 2:
		n.insert(j, name(i), n.kids[i].clone())
	case 3:
		n.swap(i, j)
	case 4:
		if n.kind == '{' {
			n.names[i] = pick(m, []string{"", "x", "critical", "v", n.names[j], n.names[i] + "x", strings.ToUpper(n.names[i])})
		} else {
			// Longer lists, in some order. The values are made before the list grows, for one of
			// them can be the list itself: each would double it.
			more := make([]*tree, pick(m, []int{1, 2, 4, 8, 16, 17, 32, 64, 65, 128}))
			for k := range more {
				more[k] = m.value(n.kids[i].clone(), nodes)
			}
			for _, v := range more {
				n.insert(m.IntN(len(n.kids)+1), "", v)
			}
		}
	case 5:
		n.insert(i, pick(m, []string{"x", "critical", "url", "time", "status", "fmc", "envelope", "until"}), m.value(n.kids[i], nodes))
	}
}

// value is another value in place of one.
func (m *mutator) value(n *tree, nodes []*tree) *tree {
	switch m.IntN(4) {
	case 0:
		return &tree{raw: pick(m, scalars)}
	case 1:
		return pick(m, nodes).clone()
	}
	s := n.raw
	if n.kind != 0 || len(s) < 3 || s[0] != '"' {
		return &tree{raw: fmt.Sprint(m.IntN(300))}
	}
	s = s[1 : len(s)-1]
	at := m.IntN(len(s))
	switch m.IntN(8) {
	case 0:
		s = s[:at]
	case 1:
		s = strings.ToUpper(s)
	case 2:
		s = s[:at] + s
	case 3:
		s = strings.Repeat(s, pick(m, []int{2, 3, 10, 100}))
	case 4:
		s = strings.Map(func(r rune) rune {
			if strings.ContainsRune("123456789abcdef", r) {
				return '0'
			}
			return r
		}, s)
	case 5:
		s = s[:at] + pick(m, bits) + s[at:]
	default:
		s = s[:at] + string("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:"[m.IntN(66)]) + s[at+1:]
	}
	return &tree{raw: `"` + s + `"`}
}
