package agree

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// number is a variable of the environment, at least least, or what stands for it.
func number(t *testing.T, name string, least, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least {
		t.Fatalf("%s=%s", name, s)
	}
	return n
}

// The kinds of files that are tried, and how many of a hundred are of each.
var kinds = []struct {
	share int
	make  func(c *corpus, m *mutator) question
}{
	{30, (*corpus).format},
	{10, (*corpus).policy},
	{8, (*corpus).rules},
	{8, (*corpus).findings},
	{4, (*corpus).stated},
	{12, (*corpus).receipt},
	{5, (*corpus).contradiction},
	{4, (*corpus).splitView},
	{7, (*corpus).dossier},
	{3, (*corpus).stapled},
	{6, (*corpus).standing},
	{3, (*corpus).indexWrong},
}

// A tally is what came of the files so far, in both implementations.
type tally struct {
	sync.Mutex
	done, disagreements int
	outcomes            map[string]int
}

func (c *tally) disagreed(t *testing.T, q *question, want, got answer) {
	c.disagreements++
	t.Errorf("%s %s, %s\nGo: %s (%s)\njs: %s (%s)\n%s", q.Op, q.Format, q.from, want.Outcome, want.Detail, got.Outcome, got.Detail, keep(t, q, c.disagreements))
}

const batch = 500

// Each batch has a random source of its own, so that a seed says which files are tried however many
// processes there are, and so that a run can be done in parts.
func TestBothImplementationsAnswerTheSame(t *testing.T) {
	total, seed := number(t, "POCLOG_AGREE", 1, files), number(t, "POCLOG_SEED", 1, 1)
	first := number(t, "POCLOG_BATCH", 0, 0)
	nodes := startNodes(t, runtime.GOMAXPROCS(0))
	c := newCorpus(t)
	sum := &tally{outcomes: map[string]int{}}
	var all sync.WaitGroup
	start, next := time.Now(), atomic.Int64{}
	defer progress(t, func() string { return sum.progress(total, start) })()
	for _, n := range nodes {
		all.Go(func() {
			for {
				at := int(next.Add(1) - 1)
				if at*batch >= total || t.Failed() && sum.stopped() {
					return
				}
				m := &mutator{rand.New(rand.NewPCG(uint64(seed), uint64(first+at)))}
				if err := n.compare(t, c.batch(m, min(batch, total-at*batch)), sum); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, k := range []string{"format bundle ok", "format entry ok", "format contradiction ok", "format tlogpolicy ok", "rules  nothing", "receipt  logged", "receipt  refused", "split-view  split", "dossier  logged", "dossier  audited", "dossier  refused", "stapled  logged", "index-wrong  found", "findings  found", "stated  ok;", "standing  logged", "standing  standing", "standing  endorsed-by", "standing  dossier", "format opening ok", "format statement ok"} {
		if sum.outcomes[k] < total/4000 {
			t.Errorf("only %d of %d are %q: the files try too little", sum.outcomes[k], total, k)
		}
	}
	t.Logf("seed %d from batch %d: %s; %v", seed, first, sum.progress(total, start), sum.outcomes)
}

// progress says how many files of how many were tried.
func (c *tally) progress(total int, start time.Time) string {
	c.Lock()
	defer c.Unlock()
	return fmt.Sprintf("%d of %d files, %.0f a second: %d disagreements", c.done, total, float64(c.done)/time.Since(start).Seconds(), c.disagreements)
}

// progress logs a line each minute, until it is told to stop.
func progress(t *testing.T, line func() string) (stop func()) {
	tick, done, ended := time.NewTicker(time.Minute), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-tick.C:
				t.Log(line())
			case <-done:
				return
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
		<-ended
	}
}

// stopped is true where there are so many disagreements that more say nothing new.
func (c *tally) stopped() bool {
	c.Lock()
	defer c.Unlock()
	return c.disagreements >= 40
}

func (c *corpus) batch(m *mutator, n int) []question {
	all := make([]question, n)
	for i := range all {
		all[i] = c.question(m)
	}
	return all
}

// compare asks both implementations about the same files, at the same time.
func (n *node) compare(t *testing.T, all []question, sum *tally) error {
	answers := make(chan answer, len(all))
	failed := make(chan error, 1)
	go func() { failed <- n.ask(all, answers) }()
	for i := range all {
		q := &all[i]
		want := gopher(q)
		got, ok := <-answers
		if !ok {
			break
		}
		sum.Lock()
		sum.done++
		sum.outcomes[q.Op+" "+q.Format+" "+strings.Fields(want.Outcome)[0]]++
		if want.Outcome != got.Outcome {
			sum.disagreed(t, q, want, got)
		}
		sum.Unlock()
	}
	return <-failed
}

// keep writes a question where POCLOG_KEEP says, for whoever looks into it.
func keep(t *testing.T, q *question, n int) string {
	dir := os.Getenv("POCLOG_KEEP")
	if dir == "" {
		s := string(q.File)
		if q.Claims != nil || q.Register != nil {
			b, _ := json.Marshal(q)
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
