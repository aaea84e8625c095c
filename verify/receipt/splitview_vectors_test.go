package receipt_test

import (
	"errors"
	"os"
	"testing"

	"github.com/poclog/poclog/internal/cddl"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

const splitViewDir = "../../testdata/splitviews"

// A splitVector is a split view's file, and what a reader makes of it.
type splitVector struct {
	Desc      string `json:"desc"`
	SplitView string `json:"split_view"`
	Policy    string `json:"policy"`
	Expect    string `json:"expect"` // "proven", or the step that refuses
}

func makeSplitVectors(t *testing.T) map[string]splitVector {
	honest, forged := logs(7)
	all := make(map[string]splitVector)
	add := func(name, desc, expect string, change func(s *receipt.SplitView)) {
		s := view(t, honest, 3, forged[1], 7)
		change(s)
		file, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = splitVector{desc, string(file), policies["none"], expect}
	}
	add("prefix", "sizes 3 and 7, of which no tree has both", "proven", func(*receipt.SplitView) {})
	add("equal-sizes", "two roots of one size, without hashes", "proven", func(s *receipt.SplitView) {
		*s = receipt.SplitView{Origin: origin, A: honest.Checkpoint(5, by(logKey, 0)), B: forged[1].Checkpoint(5, by(logKey, 0))}
	})
	add("one-history", "sizes 3 and 7 of one tree", "consistency", func(s *receipt.SplitView) { *s = *view(t, honest, 3, honest, 7) })
	add("larger-first", "the larger checkpoint first", "consistency", func(s *receipt.SplitView) { s.A, s.B = s.B, s.A })
	add("no-hashes", "without hashes", "consistency", func(s *receipt.SplitView) { s.Left, s.Right = nil, nil })
	add("hash-missing", "a hash too few", "consistency", func(s *receipt.SplitView) { s.Right = s.Right[1:] })
	add("hash-surplus", "a hash too many", "consistency", func(s *receipt.SplitView) { s.Left = append(s.Left, s.Left[0]) })
	add("hashes-of-another-tree", "hashes that lead to a's root and not to b's", "consistency", func(s *receipt.SplitView) { s.Left = nodes(t, honest, 0, 3) })
	add("origin-other", "another origin than the checkpoints'", "checkpoint", func(s *receipt.SplitView) { s.Origin = "other.test" })
	add("unsigned", "a checkpoint that a witness signed and the log did not", "checkpoint", func(s *receipt.SplitView) { s.A = honest.Checkpoint(3, by(w1, 1)) })
	good := all["prefix"]
	good.Desc, good.SplitView, good.Expect = "a line feed at the end", good.SplitView+"\n", "format"
	all["line-feed"] = good
	return all
}

func TestSplitViewVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, splitViewDir, makeSplitVectors(t))
	}
	text, err := os.ReadFile("../../docs/format.cddl")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := cddl.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	vectors.Each(t, splitViewDir, func(t *testing.T, v splitVector) {
		got := "proven"
		if _, err := receipt.CheckSplitView([]byte(v.SplitView), parsePolicy(t, v.Policy)); err != nil {
			var step *verify.Error
			if !errors.As(err, &step) {
				t.Fatal(err)
			}
			got = string(step.Check)
		}
		if got != v.Expect {
			t.Errorf("%s: %s: want %s", v.Desc, got, v.Expect)
		}
		if err := schema.Match("split-view", []byte(v.SplitView)); err != nil {
			t.Errorf("%s: %v", v.Desc, err)
		}
	})
}
