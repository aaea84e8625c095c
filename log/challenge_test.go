package log_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Witnesses that policy.txt names must have timed a challenge, without a further word in
// appraisal.json: a challenge whose cosignatures were cut off, and which could be as old as its log
// says, is none.
func TestChallengesNeedTheQuorumOfThePolicy(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	withClocks(t, dir, 2, 0, 0, 0)
	l := serve(t, dir, logConfig())
	_, inForce, err := l.client.FetchPolicy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlogpolicy.Parse([]byte(strings.Join(inForce.ChallengePolicy, "\n") + "\n"))
	if err != nil || p.Quorum() != "g" || len(p.Witnesses()) != 3 || strings.Contains(strings.Join(inForce.ChallengePolicy, ""), "http") {
		t.Errorf("%q: %v", inForce.ChallengePolicy, err)
	}
	submit(t, l, f.fresh(t, l))

	// The same log, as a client sees it that asks for no witness.
	text := ""
	for _, k := range logKeys(t, dir) {
		text += "log " + k + "\n"
	}
	lax := *l
	if lax.client, err = client.New(client.Config{URL: cutter(t, l), Policy: must(tlogpolicy.Parse([]byte(text + "quorum none\n"))), Attempts: 1}); err != nil {
		t.Fatal(err)
	}
	if got := problemOf(t, l, f.fresh(t, &lax)); got.Status != http.StatusUnprocessableEntity || got.Check != string(verify.FreshChallenge) {
		t.Errorf("%+v: want %s", got, verify.FreshChallenge)
	}
}

// cutter serves a log's checkpoint without cosignatures.
func cutter(t *testing.T, l *testLog) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, body := get(t, l.url+"/checkpoint")
		text, signatures, _ := strings.Cut(body, "\n\n")
		text += "\n\n"
		for line := range strings.Lines(signatures) {
			if strings.HasPrefix(line, "— "+origin+" ") {
				text += line
			}
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the test's own
	}
	return v
}

// A challenge policy that lists the log alone follows policy.txt, in appraisal.json, too. One that
// lists other logs beside it asks for policy.txt's witnesses, or the log does not start, and says
// how to mend it.
func TestChallengePolicyFollowsOrDisagrees(t *testing.T) {
	f := newFab()
	dir := f.initLog(t)
	own := logKeys(t, dir)
	start := func(lines ...string) ([]string, error) {
		p := f.policy()
		p.ChallengePolicy = lines
		if err := os.WriteFile(filepath.Join(dir, "appraisal.json"), must(p.Marshal()), 0o644); err != nil {
			t.Fatal(err)
		}
		svc, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test", CheckpointInterval: 100 * time.Millisecond})
		if err == nil {
			err = svc.Close(t.Context())
		}
		return must(poclog.ParsePolicy(must(os.ReadFile(filepath.Join(dir, "appraisal.json"))))).ChallengePolicy, err
	}
	kept := func(lines ...string) {
		t.Helper()
		if got, err := start(lines...); err != nil || !slices.Equal(got, lines) {
			t.Errorf("%q, %v", got, err)
		}
	}
	kept("log "+own[0], "quorum none")
	kept("log "+other, "quorum none")
	withClocks(t, dir, 1, 0)
	witness := "witness w0 " + readPolicy(t, dir).Witnesses()[0].VKey
	kept("log "+own[1], "log "+other, witness, "group g any w0", "quorum g")
	derived := []string{"log " + own[0], "log " + own[1], witness, "group g 1 w0", "quorum g"}
	for _, lines := range [][]string{nil, {"log " + own[0], "quorum none"}} {
		if got, err := start(lines...); err != nil || !slices.Equal(got, derived) {
			t.Errorf("%q, %v: want %q", got, err, derived)
		}
	}
	for name, lines := range map[string][]string{
		"no quorum":       {"log " + other, "log " + own[0], witness, "quorum none"},
		"another witness": {"log " + other, "log " + own[0], strings.Replace(witness, "w0 ", "w1 ", 1), "group g any w1", "quorum g"},
	} {
		if got, err := start(lines...); err == nil || !strings.Contains(err.Error(), "take challenge_policy out") || !strings.Contains(err.Error(), "policy.txt") || !slices.Equal(got, lines) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
