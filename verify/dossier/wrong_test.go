package dossier_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
)

// wrong makes the file about a name and an entry from a log whose index lies as meddle says.
func wrong(meddle func(name string, numbers []uint64) []uint64, name string, number uint64) *poclog.IndexWrong {
	b := honest()
	b.meddle = meddle
	d := b.bind(3100, of(name))
	size := uint64(len(b.log.Leaves))
	r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, size, b.log.Checkpoint(size, signed(3200)...))}
	if e := must(poclog.ParseLeaf(r.Entry)).Proof; e != nil {
		r.Challenge = b.log.Checkpoint(e.Fresh.Size, signed(int(e.Appraised.Sub(at(0)).Seconds())-30)...)
	}
	return &poclog.IndexWrong{Index: d.Index, DossierName: d.Names[0], Entry: must(r.Marshal())}
}

func hide(number uint64) func(string, []uint64) []uint64 {
	return func(name string, numbers []uint64) []uint64 {
		if name != chipX {
			return numbers
		}
		return slices.DeleteFunc(slices.Clone(numbers), func(n uint64) bool { return n == number })
	}
}

func addTo(number uint64) func(string, []uint64) []uint64 {
	return func(name string, numbers []uint64) []uint64 {
		if name != chipX {
			return numbers
		}
		more := append(slices.Clone(numbers), number)
		slices.Sort(more)
		return more
	}
}

func TestWrongIndexesAreShown(t *testing.T) {
	for what, c := range map[string]struct {
		file *poclog.IndexWrong
		want dossier.Wrong
	}{
		"an entry is left out":            {wrong(hide(2), chipX, 2), dossier.Wrong{Entry: 2, Omitted: true}},
		"an entry is listed that is none": {wrong(addTo(3), chipX, 3), dossier.Wrong{Entry: 3}},
		"a name is left out": {wrong(func(name string, numbers []uint64) []uint64 {
			if name == chipX {
				return nil
			}
			return numbers
		}, chipX, 1), dossier.Wrong{Entry: 1, Omitted: true}},
	} {
		got, err := dossier.CheckIndexWrong(must(c.file.Marshal()), policy(t))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want := dossier.Wrong{V: 1, Origin: origin, Number: 5, Size: 5, Name: chipX, Entry: c.want.Entry, Omitted: c.want.Omitted}
		if *got != want {
			t.Errorf("%s: %+v, want %+v", what, *got, want)
		}
	}
}

// Nobody frames an honest log.
func TestHonestIndexesAreNotShownToBeWrong(t *testing.T) {
	for what, c := range map[string]struct {
		file *poclog.IndexWrong
		step verify.Check
	}{
		"an entry that is listed":      {wrong(nil, chipX, 2), dossier.StepWrong},
		"an entry of another chip":     {wrong(nil, chipX, 3), dossier.StepWrong},
		"an entry after the index":     {wrong(nil, chipX, 5), dossier.StepWrong},
		"the receipt of another entry": {func() *poclog.IndexWrong { w := wrong(nil, chipX, 2); w.Index = w.Entry; return w }(), dossier.StepIndex},
		"a number taken out":           {func() *poclog.IndexWrong { w := wrong(nil, chipX, 2); w.Numbers = []uint64{1, 4}; return w }(), dossier.StepNumbers},
		"a proof of another name":      {func() *poclog.IndexWrong { w := wrong(nil, chipX, 2); w.Proof = wrong(nil, akX, 2).Proof; return w }(), dossier.StepMap},
		"a name that is none":          {func() *poclog.IndexWrong { w := wrong(nil, chipX, 2); w.Name = "x"; return w }(), dossier.StepMap},
		"a list cut off before the entry": {func() *poclog.IndexWrong {
			w := wrong(nil, chipX, 1)
			before := poclog.Digest(chain(1))
			w.Before, w.Numbers = &before, []uint64{2, 4}
			return w
		}(), dossier.StepWrong},
	} {
		if got, err := dossier.CheckIndexWrong(must(c.file.Marshal()), policy(t)); stepOf(err) != c.step {
			t.Errorf("%s: %+v, %v; want %s", what, got, err, c.step)
		}
	}
	other := must(wrong(hide(2), chipX, 2).Marshal())
	for i := 0; i < len(other); i += 5 {
		changed := bytes.Clone(other)
		changed[i] ^= 1
		if got, err := dossier.CheckIndexWrong(changed, policy(t)); err == nil && (got.Name != chipX || got.Entry != 2 || !strings.Contains(string(changed), "index-wrong")) {
			t.Errorf("byte %d changed: %+v", i, got)
		}
	}
}
