package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/poclog/poclog/publish/attest"
)

// Every remedy has words, and every flag in them exists.
func TestRemediesAreSaid(t *testing.T) {
	flags := newAttestCmd().Flags()
	for _, r := range attest.Remedies() {
		text := remedy(r, "")
		if text == "" {
			t.Errorf("%s: nothing is said", r)
		}
		for _, m := range regexp.MustCompile("(gcloud [^`]*|sudo [^`]*|curl [^`]*|container with [^;]*|poclog (?:import|policy) [^`]*)|--([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if m[2] != "" && flags.Lookup(m[2]) == nil {
				t.Errorf("%s: there is no flag --%s", r, m[2])
			}
		}
	}
	if len(remedies) != len(attest.Remedies()) || !strings.Contains(remedy(attest.UseAnotherLog, "tdx"), "profile tdx") {
		t.Errorf("%d remedies are said of %d", len(remedies), len(attest.Remedies()))
	}
}
