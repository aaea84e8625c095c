package tlogpolicy

import (
	"fmt"
	"slices"
	"strings"
)

// QuorumWords says in words what a checkpoint needs.
func (p *Policy) QuorumWords() string {
	if p.Quorum() == None {
		return "none: the log's signature alone is enough"
	}
	return p.Words(p.Quorum())
}

// Words says in words what meets a witness or a group: "any 2 of w1, w2, w3".
func (p *Policy) Words(name string) string {
	i := slices.IndexFunc(p.Groups(), func(g Group) bool { return g.Name == name })
	if i < 0 {
		return name
	}
	g := p.Groups()[i]
	members := make([]string, len(g.Members))
	for j, m := range g.Members {
		members[j] = p.MemberWords(m)
	}
	if len(members) == 1 {
		return members[0]
	}
	if g.Threshold == len(members) {
		return "all of " + strings.Join(members, ", ")
	}
	return fmt.Sprintf("any %d of %s", g.Threshold, strings.Join(members, ", "))
}

// MemberWords names a group of one witness's keys as the witness, and says what others mean.
func (p *Policy) MemberWords(name string) string {
	i := slices.IndexFunc(p.Groups(), func(g Group) bool { return g.Name == name })
	if i < 0 {
		return name
	}
	g, owners := p.Groups()[i], make(map[string]bool)
	for _, x := range p.Witnesses() {
		if slices.Contains(g.Members, x.Name) {
			owners[x.KeyName] = true
		}
	}
	if g.Threshold == 1 && len(owners) == 1 {
		return name
	}
	return "(" + p.Words(name) + ")"
}
