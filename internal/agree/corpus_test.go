package agree

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

type formatVector struct{ Desc, Format, Input, Expect string }

// vectors reads a folder of vectors, by name.
func vectors[V any](t *testing.T, dir string) (all []V) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/" + dir + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s (%v)", dir, err)
	}
	sort.Strings(files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v V
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func formatVectors(t *testing.T) []formatVector { return vectors[formatVector](t, "formats") }

// A corpus is what files are made of.
type corpus struct {
	formats  [][]formatVector // of each format those that are read
	policies []string
	leaves   []*tree // of valid proofs
	world    *world
}

func newCorpus(t *testing.T) *corpus {
	c := &corpus{world: newWorld()}
	for _, v := range formatVectors(t) {
		if strings.HasSuffix(v.Format, "-entry") {
			v.Format = "entry"
		}
		if v.Expect != "ok" {
			continue
		}
		if formats[v.Format] == nil {
			t.Fatalf("%s: format %s is not compared here", v.Desc, v.Format)
		}
		c.add(v)
		if v.Format == "entry" && strings.Contains(v.Input, `"kind":"proof"`) {
			c.leaves = append(c.leaves, parseTree([]byte(v.Input)))
		}
	}
	c.add(formatVector{"a configuration", "entry", string(config), "ok"})
	c.add(formatVector{"a split view", "split-view", string(splitView(c.world)), "ok"})
	for _, v := range vectors[struct{ Policy, Expect string }](t, "tlogpolicy") {
		c.policies = append(c.policies, v.Policy)
	}
	for _, v := range vectors[struct{ Contradiction string }](t, "contradictions") {
		contradiction, err := poclog.ParseContradiction([]byte(v.Contradiction))
		if err != nil {
			continue
		}
		for _, claim := range contradiction.Claims {
			r, err := poclog.ParseReceipt(claim.Receipt)
			if err != nil {
				continue
			}
			if l, err := poclog.ParseLeaf(r.Entry); err == nil && l.Proof != nil {
				c.leaves = append(c.leaves, parseTree(r.Entry))
			}
		}
	}
	return c
}

// add adds a file to those of its format.
func (c *corpus) add(v formatVector) {
	for i, of := range c.formats {
		if of[0].Format == v.Format {
			c.formats[i] = append(of, v)
			return
		}
	}
	c.formats = append(c.formats, []formatVector{v})
}

var config = []byte(`{"v":1,"kind":"config","policy":{"sha256":"823412d1eacb67956220e532959f0104603057c88704863ca38e7cd188fda812","size":6},"software":"poclog test","time":"2026-06-08T12:42:41Z"}`)

// question makes a file of some kind.
func (c *corpus) question(m *mutator) question {
	for {
		// Lists that are put into lists grow without end: what is far over every limit says nothing
		// new.
		if q := c.anyQuestion(m); len(q.File) <= maxTried {
			return q
		}
	}
}

// maxTried is the size of the largest file that is tried, in bytes.
const maxTried = 4 << 20

func (c *corpus) anyQuestion(m *mutator) question {
	at := m.IntN(100)
	for _, k := range kinds {
		if at < k.share {
			return k.make(c, m)
		}
		at -= k.share
	}
	panic("the shares are no hundred")
}

// indented says whether people edit files of a format.
func indented(format string) bool { return format == "policy" || format == "registrars" }

// format is a file of a format of §2 to §7, §9 to §11 or §14 to §18.
func (c *corpus) format(m *mutator) question {
	if m.chance(20) {
		return c.identity(m)
	}
	v := pick(m, pick(m, c.formats)) // each format as often as any other, however many vectors it has
	q := question{Op: "format", Format: v.Format, from: v.Desc}
	if v.Format == "identity" || m.chance(3) {
		q.File = m.bytes([]byte(v.Input))
		return q
	}
	file := m.tree(parseTree([]byte(v.Input)))
	q.File = file.bytes(indented(v.Format))
	if v.Format == "contradiction" && !m.chance(4) {
		q.File = seal(file)
	}
	return q
}

func (c *corpus) identity(m *mutator) question {
	form := pick(m, []string{"intel:tdx:ppid:%032x", "intel:tdx:piid:%032x", "amd:snp:chipid:%0128x", "tpm:ek:%064x", "tpm:ak:%064x", "quote:%064x", "gce:instance:%d:1", "gce:instance:1:%d", "azure:vm:%08x-0d2a-4565-969d-166cdcef26a3"})
	id := fmt.Sprintf(form, pick(m, []uint64{0, 1, 7, 1 << 63, 1<<64 - 1}))
	if m.chance(2) {
		id = string(m.bytes([]byte(id)))
	}
	return question{Op: "format", Format: "identity", File: []byte(id), from: "an identity"}
}

// policy is a tlog-policy.
func (c *corpus) policy(m *mutator) question {
	q := question{Op: "format", Format: "tlogpolicy", from: "a policy"}
	if m.chance(3) {
		q.File = m.policy(c.world)
		return q
	}
	q.File = m.bytes([]byte(pick(m, c.policies)))
	return q
}
