package agree

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// number is a variable of the environment, or what stands for it.
func number(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s", name, s)
	}
	return n
}

// The kinds of files that are tried, and how many of a hundred are of each.
var kinds = []struct {
	share int
	make  func(c *corpus, m *mutator) question
}{
	{40, (*corpus).format},
	{12, (*corpus).policy},
	{14, (*corpus).rules},
	{12, (*corpus).receipt},
	{5, (*corpus).contradiction},
	{4, (*corpus).splitView},
	{7, (*corpus).dossier},
	{3, (*corpus).stapled},
	{3, (*corpus).indexWrong},
}

func TestBothImplementationsAnswerTheSame(t *testing.T) {
	n := startNode(t)
	total, seed := number(t, "POCLOG_AGREE", 20_000), number(t, "POCLOG_SEED", 1)
	c := newCorpus(t)
	m := &mutator{rand.New(rand.NewPCG(uint64(seed), 0))}
	outcomes, disagreements := map[string]int{}, 0
	for done := 0; done < total && disagreements < 40; {
		batch := make([]question, min(1000, total-done))
		for i := range batch {
			batch[i] = c.question(m)
		}
		n.ask(t, batch, func(i int, got answer) {
			q := &batch[i]
			want := gopher(q)
			outcomes[q.Op+" "+q.Format+" "+strings.Fields(want.Outcome)[0]]++
			if want.Outcome != got.Outcome {
				disagreements++
				t.Errorf("%s %s, %s\nGo: %s (%s)\njs: %s (%s)\n%s", q.Op, q.Format, q.from, want.Outcome, want.Detail, got.Outcome, got.Detail, keep(t, q, disagreements))
			}
		})
		done += len(batch)
	}
	for _, k := range []string{"format bundle ok", "format entry ok", "format contradiction ok", "format tlogpolicy ok", "rules  nothing", "receipt  logged", "receipt  refused", "split-view  split", "dossier  logged", "dossier  audited", "dossier  refused", "stapled  logged", "index-wrong  found"} {
		if outcomes[k] < total/4000 {
			t.Errorf("only %d of %d are %q: the files try too little", outcomes[k], total, k)
		}
	}
	t.Log(total, "files, seed", seed, outcomes)
}

// keep writes a question where POCLOG_KEEP says, for whoever looks into it.
func keep(t *testing.T, q *question, n int) string {
	dir := os.Getenv("POCLOG_KEEP")
	if dir == "" {
		s := string(q.File)
		if q.Op == "rules" {
			b, _ := json.Marshal(q.Claims)
			s = string(b)
		}
		return s[:min(len(s), 300)]
	}
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, fmt.Sprintf("%d.json", n))
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
