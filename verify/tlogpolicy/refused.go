package tlogpolicy

import (
	"errors"
	"fmt"
)

// What a policy can break, as docs/format.md §13 lists it. The ids are stable: test vectors have
// them.
const (
	ruleSize           = "size"            // the policy is too long
	ruleByte           = "byte"            // a byte that no line may have
	ruleKeyword        = "keyword"         // a line of no known kind
	ruleWords          = "words"           // a line of too few or too many words
	ruleLines          = "lines"           // too many lines of one kind
	ruleNoLog          = "no-log"          // no log line
	ruleNoQuorum       = "no-quorum"       // no quorum line
	ruleSecondQuorum   = "second-quorum"   // two quorum lines
	ruleKey            = "key"             // a key that is not in its form, or whose id is another's
	ruleKeyType        = "key-type"        // a key of a type that the line cannot have
	ruleKeyRepeated    = "key-repeated"    // a key that another line has
	ruleName           = "name"            // a name that an earlier line defines, or none
	ruleUndefined      = "undefined"       // a name that no earlier line defines
	ruleMemberRepeated = "member-repeated" // a member twice in a group, or of two groups
	ruleThreshold      = "threshold"       // a threshold that is none
	ruleURL            = "url"             // an address of another scheme
)

// A Refusal is why a policy or a key of one is refused.
type Refusal struct {
	Rule   string // its id in docs/format.md §13
	Detail string // one line for a person, which names the line of the policy
}

// Error returns the detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(rule string, format string, args ...any) *Refusal {
	return &Refusal{rule, fmt.Errorf(format, args...).Error()}
}

// in says where something was refused. It keeps the rule.
func in(where string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return fmt.Errorf("%s: %w", where, err)
	}
	return &Refusal{r.Rule, where + ": " + r.Detail}
}
