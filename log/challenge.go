package log

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// challengePolicy holds an appraisal policy's challenge policy to policy.txt: what the log's
// clients want on a checkpoint, they want on the checkpoint of a challenge, or its time proves
// nothing to them. One that lists no other log follows policy.txt, and changed says that it had to.
// One that lists others, too, must ask for the same witnesses.
func challengePolicy(p *poclog.Policy, own *tlogpolicy.Policy) (changed bool, err error) {
	lines := challengeLines(own)
	if len(p.ChallengePolicy) == 0 {
		p.ChallengePolicy = lines
		return true, nil
	}
	c, err := tlogpolicy.Parse([]byte(strings.Join(p.ChallengePolicy, "\n") + "\n"))
	if err != nil {
		return false, fmt.Errorf("challenge_policy: %w", err)
	}
	isLog := func(l string) bool { return strings.HasPrefix(l, "log ") }
	isOwn := func(l tlogpolicy.Log) bool { return own.Lists(l.Origin) }
	others := slices.ContainsFunc(c.Logs(), func(l tlogpolicy.Log) bool { return !isOwn(l) })
	switch {
	case !slices.ContainsFunc(c.Logs(), isOwn), slices.Equal(slices.DeleteFunc(challengeLines(c), isLog), slices.DeleteFunc(slices.Clone(lines), isLog)):
		return false, nil
	case others:
		return false, fmt.Errorf("challenge_policy has the quorum %q and %s the quorum %q, or another one of that name: give both the same witnesses, groups and quorum, or take challenge_policy out to accept this log's checkpoints alone",
			c.Quorum(), filePolicy, own.Quorum())
	}
	p.ChallengePolicy = lines
	return true, nil
}

// challengeLines are the lines of a tlog-policy that say what a challenge's checkpoint must carry:
// logs, and the quorum with its witnesses. Addresses, and whom the quorum does not need, can change
// without a new appraisal policy.
func challengeLines(p *tlogpolicy.Policy) []string {
	var lines []string
	for _, l := range p.Logs() {
		lines = append(lines, "log "+l.VKey)
	}
	for _, w := range p.Witnesses() {
		if p.Contains(p.Quorum(), w.Name) {
			lines = append(lines, "witness "+w.Name+" "+w.VKey)
		}
	}
	for _, g := range p.Groups() {
		if p.Contains(p.Quorum(), g.Name) {
			lines = append(lines, fmt.Sprintf("group %s %d %s", g.Name, g.Threshold, strings.Join(g.Members, " ")))
		}
	}
	return append(lines, "quorum "+p.Quorum())
}
