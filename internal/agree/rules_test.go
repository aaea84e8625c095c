package agree

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// claims are two entries of which each member has one of few values, so that they agree in some and
// differ in others.
func (c *corpus) claims(m *mutator) [2]*tree {
	e := c.leaf(m)
	f := e.clone()
	if m.chance(4) {
		f = c.leaf(m)
	}
	for _, v := range []*tree{e, f} {
		for range m.IntN(6) {
			m.claim(v)
		}
	}
	return [2]*tree{e, f}
}

func list(items ...string) *tree {
	v := &tree{kind: '['}
	for _, i := range items {
		v.kids = append(v.kids, &tree{raw: quote(i)})
	}
	return v
}

func hexID(prefix string, octets, n int) string {
	return fmt.Sprintf("%s%0*x", prefix, 2*octets, n)
}

// claim gives a member of an entry one of few values.
func (m *mutator) claim(e *tree) {
	put := func(v *tree, path ...string) {
		if old := e.get(path...); old != nil {
			*old = *v
		}
	}
	u32 := func() *tree {
		return &tree{raw: pick(m, []string{"0", "1", "2", "3", "2147483647", "2147483648", "4294967294", "4294967295"})}
	}
	switch m.IntN(20) {
	case 0:
		put(m.chassis(), "chassis")
	case 1:
		keys := list(hexID("tpm:ak:", 32, 1+m.IntN(2)))
		if m.chance(2) {
			keys.kids = append(keys.kids, list(hexID("tpm:ek:", 32, 1+m.IntN(2))).kids...)
		}
		put(keys, "keys")
	case 2:
		put(&tree{raw: quote(fmt.Sprintf("gce:instance:1:%d", 1+m.IntN(2)))}, "instance")
	case 3:
		put(&tree{raw: quote(hexID("quote:", 32, 1+m.IntN(2)))}, "quote")
	case 4, 5:
		put(u32(), "tpm", pick(m, []string{"reset_count", "restart_count"}))
	case 6:
		put(&tree{raw: fmt.Sprintf(`"%d"`, m.IntN(3))}, "tpm", pick(m, []string{"clock", "firmware"}))
	case 7:
		put(&tree{raw: pick(m, []string{"true", "false"})}, "tpm", "safe")
	case 8:
		put(&tree{raw: quote(pick(m, []string{"gce-tdx-vtpm", "baremetal-tdx-tpm", "azure-snp-vtpm", "azure-tdx-vtpm"}))}, "profile")
	case 9:
		put(&tree{raw: pick(m, []string{"0", "2"})}, "level")
	case 10:
		put(list(pick(m, [][]string{{"tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm"}, {"tpm.ak-template", "bind.ak-in-tee"}, {"tee.chain"}})...), "checks")
	case 11:
		put(&tree{raw: quote(hexID("", 32, 1+m.IntN(2)))}, "tpm", "extra_data")
	case 12:
		put(&tree{raw: quote(hexID("", 48, 1+m.IntN(2)))}, "cvm", "measurement")
	case 13:
		m.registers(e)
	case 14:
		part := pick(m, []string{"provider", "region", "zone"})
		put(&tree{raw: quote(pick(m, []string{"gce", "azure", "p1"}))}, "place", part, "value")
		put(list(pick(m, []string{"ak-certificate", "log-observed", "aia-hint", "vlek"})), "place", part, "by")
	case 15:
		put(&tree{raw: quote(hexID("", 6, m.IntN(2)))}, "cvm", "fmspc")
		put(&tree{raw: quote(pick(m, []string{"Milan", "Genoa"}))}, "cvm", "snp", "product")
		put(&tree{raw: quote(pick(m, []string{"vcek", "vlek"}))}, "cvm", "snp", "signer")
	case 16:
		put(&tree{raw: strconv.Itoa(16 + m.IntN(3))}, "cvm", "tcb", "evaluation")
	case 17:
		put(&tree{raw: quote(pick(m, []string{"lab", "production"}))}, "realm")
	case 18:
		put(&tree{raw: quote(pick(m, []string{"rsa-2048", "ecc-p256"}))}, "tpm", "key_type")
	case 19:
		if m.chance(2) {
			put(&tree{raw: "null"}, "fresh")
		} else {
			for i, n := range e.names {
				if n == pick(m, []string{"place", "instance", "boot", "absent"}) {
					e.remove(i)
					break
				}
			}
		}
	}
}

func (m *mutator) chassis() *tree {
	var ids []string
	if m.chance(3) {
		ids = append(ids, hexID("amd:snp:chipid:", 64, 1+m.IntN(2)))
	} else {
		if m.chance(2) {
			ids = append(ids, hexID("intel:tdx:piid:", 16, 1+m.IntN(2)))
		}
		ids = append(ids, hexID("intel:tdx:ppid:", 16, 1+m.IntN(2)))
	}
	if m.chance(3) {
		ids = append(ids, hexID("tpm:ek:", 32, 1+m.IntN(2)))
	}
	return list(ids...)
}

// registers changes a PCR bank's digest or an RTMR, or leaves it out.
func (m *mutator) registers(e *tree) {
	if rtmrs := e.get("cvm", "rtmrs"); rtmrs != nil && m.chance(2) {
		if m.chance(4) {
			cvm := e.get("cvm")
			for i, n := range cvm.names {
				if n == "rtmrs" {
					cvm.remove(i)
					break
				}
			}
			return
		}
		*pick(m, rtmrs.kids) = tree{raw: quote(hexID("", 48, 1+m.IntN(2)))}
		return
	}
	if pcrs := e.get("tpm", "pcrs"); pcrs != nil && len(pcrs.kids) > 0 {
		pick(m, pcrs.kids).set(quote(hexID("", 32, 1+m.IntN(2))), "firmware")
	}
}

// rules is two entries where they stand, or one, without receipts.
func (c *corpus) rules(m *mutator) question {
	q := question{Op: "rules", from: "entries where they stand"}
	entries := c.claims(m)
	n := pick(m, []int{2, 2, 2, 2, 1})
	for i, e := range entries[:n] {
		at := start + int64(m.IntN(2))*int64(pick(m, []int{59, 60, 61, 62, 3599, 3600, 3601, 86400, 86401, 90000}))
		e.set(quote(time.Unix(at+int64(pick(m, []int{0, 1, 59, 60, 61, 62, 120, -60, -61})), 0).UTC().Format(time.RFC3339)), "appraised")
		k := claim{Leaf: e.bytes(false), Origin: pick(m, []string{origin, origin, other}), Index: strconv.Itoa(5 * (i + m.IntN(2)))}
		if !m.chance(5) {
			k.T1 = strconv.FormatInt(at, 10)
		}
		if !m.chance(5) {
			k.T2 = strconv.FormatInt(at+int64(pick(m, []int{0, 1, 59, 60, 61, 100, -60, -61, -62})), 10)
		}
		q.Claims = append(q.Claims, k)
	}
	if n == 2 && m.chance(3) {
		i := m.IntN(2)
		e := entries[i]
		e.set(quote(q.Claims[1-i].Origin), "fresh", "origin")
		index, _ := strconv.Atoi(q.Claims[1-i].Index)
		e.set(fmt.Sprintf(`"%d"`, index+1), "fresh", "size")
		q.Claims[i].Leaf = e.bytes(false)
		q.Claims[i].After = !strings.Contains(string(q.Claims[i].Leaf), `"fresh":null`)
	}
	return q
}

// findings are several entries of one or two logs, of which each member has one of few values.
func (c *corpus) findings(m *mutator) question {
	q := question{Op: "findings", from: "entries of one or two logs"}
	pair, logs := c.claims(m), pick(m, [][]string{{origin}, {origin, other}})
	when := int64(start)
	for i := range 2 + m.IntN(6) {
		e := pair[m.IntN(2)].clone()
		for range m.IntN(4) {
			m.claim(e)
		}
		when += int64(pick(m, []int{0, 60, 3600, 86400}))
		e.set(quote(time.Unix(when+int64(pick(m, []int{0, 1, 60, 61, 120})), 0).UTC().Format(time.RFC3339)), "appraised")
		e.set(quote(pick(m, logs)), "fresh", "origin")
		e.set(fmt.Sprintf(`"%d"`, m.IntN(9)), "fresh", "size")
		k := claim{Leaf: e.bytes(false), Origin: pick(m, logs), Index: strconv.Itoa(i), After: m.chance(2)}
		if !m.chance(5) {
			k.T1 = strconv.FormatInt(when, 10)
		}
		if !m.chance(5) {
			k.T2 = strconv.FormatInt(when+int64(pick(m, []int{0, 60, 100, -61})), 10)
		}
		q.Claims = append(q.Claims, k)
	}
	m.Shuffle(len(q.Claims), func(i, j int) { q.Claims[i], q.Claims[j] = q.Claims[j], q.Claims[i] })
	return q
}
