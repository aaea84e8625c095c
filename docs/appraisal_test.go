package docs_test

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

var checkID = regexp.MustCompile("`((?:tee|tpm|bind|place|endorse|fresh)\\.[a-z-]+)`")

// Every check that an entry can name is specified in the pages of its appraisal, and none that
// there is not.
func TestAppraisalSpecifiesEveryCheck(t *testing.T) {
	all := pages(t)
	text := all["docs/appraisal-1.md"] + all["docs/appraisal-1-tpm.md"]
	specified := make(map[string]bool)
	for _, id := range regexp.MustCompile("\\*\\*`([a-z.-]+)`").FindAllStringSubmatch(text, -1) {
		specified[id[1]] = true
	}
	for _, c := range verify.Checks() {
		if !specified[string(c)] {
			t.Errorf("%s: no paragraph begins with it", c)
		}
	}
	known := verify.Checks()
	for _, m := range checkID.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, verify.Check(m[1])) {
			t.Errorf("there is no check %s", m[1])
		}
	}
	for _, c := range []verify.Check{verify.Format, verify.Profile, verify.Realm, verify.Collateral, verify.Policy, verify.PublisherSignature} {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(string(c)) + "`").MatchString(text) {
			t.Errorf("%s is not in the pages", c)
		}
	}
	for _, p := range poclog.Profiles() {
		if !regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(string(p)) + "` \\|").MatchString(text) {
			t.Errorf("profile %s has no row", p)
		}
	}
	if len(specified) < len(known) {
		t.Errorf("specified are %v", slices.Sorted(maps.Keys(specified)))
	}
}
