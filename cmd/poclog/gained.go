package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// gained says what a receipt has that it did not have before it was moved.
func gained(before, after []byte, p *tlogpolicy.Policy) string {
	now, err := receipt.OpenAs(after, p, "")
	if err != nil {
		return "the receipt was moved"
	}
	then, err := receipt.OpenAs(before, p, "")
	if err != nil {
		then = new(receipt.Verdict)
	}
	text := fmt.Sprintf("moved from size %d to %d of %s", then.Size, now.Size, now.Origin)
	var by []string
	for _, w := range now.Witnesses {
		if !slices.Contains(then.Witnesses, w) {
			by = append(by, w)
		}
	}
	if len(by) > 0 {
		text += ", now cosigned by " + strings.Join(by, ", ")
	}
	switch {
	case now.Verdict != then.Verdict && then.Verdict != "":
		text += fmt.Sprintf(", now %s", now.Verdict)
	case len(by) == 0 && now.Size == then.Size:
		return fmt.Sprintf("nothing is new: size %d of %s, %s", now.Size, now.Origin, now.Verdict)
	}
	return text
}
