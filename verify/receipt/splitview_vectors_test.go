package receipt_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/cddl"
	"github.com/poclog/poclog/internal/testlog"
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
	other := testlog.LogKey("other.test")
	under := func(name, policy string) {
		v := all[name]
		v.Policy = policy
		all[name] = v
	}
	add("empty-tree", "a checkpoint of the empty tree, which is of every history", "consistency", func(s *receipt.SplitView) {
		*s = receipt.SplitView{Origin: origin, A: honest.Checkpoint(0, by(logKey, 0)), B: forged[1].Checkpoint(7, by(logKey, 0)), Right: nodes(t, forged[1], 0, 7)}
	})
	add("one-checkpoint", "one checkpoint twice", "consistency", func(s *receipt.SplitView) { *s = receipt.SplitView{Origin: origin, A: s.A, B: s.A} })
	add("origin-of-b-other", "the second checkpoint is another listed log's", "checkpoint", func(s *receipt.SplitView) {
		s.B = testlog.SignRoot("other.test", 7, forged[1].Root(7), by(other, 0))
	})
	under("origin-of-b-other", "log "+logKey.VKey+"\nlog "+other.VKey+"\nquorum none\n")
	add("witnesses", "witnesses cosigned both, which is not asked for", "proven", func(s *receipt.SplitView) { s.B = forged[1].Checkpoint(7, by(w1, 5), by(logKey, 0)) })
	under("witnesses", policies["2-of-3"])
	add("witness-time-0", "a cosignature of time 0", "checkpoint", func(s *receipt.SplitView) {
		s.B = forged[1].Checkpoint(7, by(logKey, 0), testlog.Cosigner{Signer: w1, At: time.Unix(0, 0)})
	})
	under("witness-time-0", policies["2-of-3"])
	add("witness-wrong", "a cosignature on another tree", "checkpoint", func(s *receipt.SplitView) {
		_, line, _ := strings.Cut(string(honest.Checkpoint(7, by(w1, 5))), "\n\n")
		s.B = append(s.B, line...)
	})
	under("witness-wrong", policies["2-of-3"])
	changedOf := func(base, name, desc, old, new string) {
		v := all[base]
		v.Desc, v.Expect, v.SplitView = desc, "format", strings.Replace(v.SplitView, old, new, 1)
		if v.SplitView == all[base].SplitView {
			t.Fatalf("%s: %q is not in the file", name, old)
		}
		all[name] = v
	}
	changed := func(name, desc, old, new string) { changedOf("prefix", name, desc, old, new) }
	changed("unknown-member", "a member that no one knows", `{"v":1`, `{"v":1,"x":1`)
	changed("version", "another version", `{"v":1`, `{"v":2`)
	changed("spaced", "white space that the canonical form does not have", `,"a"`, `, "a"`)
	changedOf("equal-sizes", "empty-list", "an empty list", `"}`, `","left":[]}`)
	changed("hashes-127", "more hashes than a tree has", `"right":[`, `"right":[`+strings.Repeat(`"`+strings.Repeat("00", 32)+`",`, 126))
	changed("origin-129", "an origin that is too long", `"origin":"`, `"origin":"`+strings.Repeat("a", 129-len(origin)))
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
		if err := schema.Match("split-view", []byte(v.SplitView)); err != nil && v.Expect != "format" {
			t.Errorf("%s: %v", v.Desc, err)
		}
	})
}
