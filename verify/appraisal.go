package verify

import "github.com/poclog/poclog"

// An Appraisal is the result of appraising a bundle: the claims, as the entry to be logged, and a
// sentence for each check.
type Appraisal struct {
	Entry poclog.Entry
	// Notes says for people what a check found (RTMR0: 30 events matched). They are not part of the
	// entry.
	Notes map[Check]string
}
