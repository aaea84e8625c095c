package log_test

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/others"
	"github.com/poclog/poclog/internal/peers"
)

// balance starts a balancer before all front ends, and the front ends.
func (l *sharedLog) balance(t *testing.T) *peers.Balancer {
	t.Helper()
	var addresses []string
	for _, v := range l.fronts {
		addresses = append(addresses, v.address)
	}
	b := peers.NewBalancer(t, drain/10, addresses...)
	for i, v := range l.fronts {
		v.start()
		b.WaitReady(t, i)
	}
	return b
}

// Front ends are stopped and started one after the other, behind a balancer that asks for readiness:
// no submission is refused or fails.
func TestFrontEndsAreUpgradedWithoutARefusedSubmission(t *testing.T) {
	t.Parallel()
	l := newSharedLog(t, 2)
	b := l.balance(t)
	w, c := l.watch(), l.crowd(8, b.Address)
	n := kills(t)
	for i := range n {
		v := l.fronts[i%2]
		v.stop()
		if left := strings.TrimSpace(l.db.SQL(t, "SELECT COUNT(*) FROM log.PoclogFrontEnds")); left != "1" {
			t.Errorf("%s front ends count as alive after one left: want 1", left)
		}
		v.start()
		b.WaitReady(t, i%2)
	}
	receipts := c.end()
	w.end()
	t.Logf("%d restarts: %d receipts of %d submissions, %d failed", n, len(receipts), c.number.Load(), c.failed.Load())
	for i := range l.fronts {
		answered, refused := b.Count(i)
		t.Logf("front end %d answered %d requests and refused %d connections", i, answered, refused)
	}
	if c.failed.Load() > 0 {
		t.Errorf("%d submissions failed, the last with %v", c.failed.Load(), *c.last.Load())
	}
	l.check(receipts)
}

// Tessera's hammer reads through a balancer that sends each request to another front end, while a crowd
// submits and front ends are restarted: it proves each checkpoint consistent with the one before, and
// reads the whole log and random entries. Nothing fails.
func TestFrontEndsUnderTesserasHammer(t *testing.T) {
	t.Parallel()
	hammer, err := others.Program(t.Context(), "tessera-hammer")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	l := newSharedLog(t, 2)
	b := l.balance(t)
	c := l.crowd(8, b.Address)
	goal := 40 * min(kills(t), 5)
	cmd := exec.Command(hammer, "--log_url=http://"+b.Address+"/", "--log_public_key="+l.policy.Logs()[0].VKey, "--show_ui=false", "--logtostderr", "--v=2",
		"--num_readers_random=4", "--num_readers_full=2", "--num_writers=0", "--max_read_ops=400", "--leaf_write_goal="+strconv.Itoa(goal), "--max_runtime=5m")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for i := 0; ; i = 1 - i {
		select {
		case err = <-ended:
		case <-time.After(3 * time.Second):
			l.fronts[i].stop()
			l.fronts[i].start()
			b.WaitReady(t, i)
			continue
		}
		break
	}
	c.end()
	if err != nil {
		t.Errorf("the hammer: %v", err)
	}
	updates, reads := bytes.Count(said.Bytes(), []byte("Updated checkpoint")), bytes.Count(said.Bytes(), []byte("LeafReader getting"))
	done := false
	for line := range strings.Lines(said.String()) {
		// At its goal the hammer gives up what it still asks for, and says so.
		done = done || strings.Contains(line, "Reached tree size goal")
		if !strings.HasPrefix(line, "I") && !(done && strings.Contains(line, "context canceled")) {
			t.Errorf("the hammer said: %s", line)
		}
	}
	t.Logf("%s: %d checkpoints proven consistent, %d reads of entries, no error", others.Module("tessera-hammer"), updates, reads)
	if updates < 3 || reads < 100 {
		t.Error("too little to show anything")
	}
}
