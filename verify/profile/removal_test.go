//go:build !race

package profile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify"
)

// idle are the checks that stop nothing under a profile, with the reason.
var idle = map[poclog.Profile]map[verify.Check]string{
	poclog.AzureTDXvTPM: {
		verify.BindPCRRTMR:   "absent: Azure leaves the RTMRs zero",
		verify.PlaceCert:     "absent: Azure certifies no place",
		verify.PlaceRegistry: "absent: Azure publishes no register",
		verify.PlaceAgree:    "there is one source of place, so nothing can disagree",
	},
	poclog.AzureSNPvTPM: {
		verify.BindPCRRTMR:   "absent: SEV-SNP has no registers of what boots",
		verify.PlaceCert:     "absent: Azure certifies no place",
		verify.PlaceRegistry: "absent: Azure publishes no register",
	},
	poclog.TDX: {verify.TEELaunch: "a measurement that nobody vouches for is admitted: the profile claims no more than a genuine chip"},
}

// No check is decoration: each attack is refused by its check, and passes without it.
func TestRemovalOfACheckLetsItsAttackPass(t *testing.T) {
	type stop struct {
		profile poclog.Profile
		check   verify.Check
	}
	stopped := make(map[stop]bool)
	for _, a := range attack.All() {
		t.Run(a.ID(), func(t *testing.T) {
			w := a.NewWorld()
			in := judging(t, w, a.Stage(w))
			_, err := Appraise(in)
			wantCheck(t, a.Name, err, a.Check)
			open := a.Opened
			if open == nil {
				open = []verify.Check{a.Check}
				stopped[stop{w.Profile, a.Check}] = true
			}
			without := make(map[verify.Check]bool)
			for _, c := range open {
				without[c] = true
			}
			got, err := appraise(in, without)
			if err != nil {
				t.Errorf("without %v it is still refused: %v", open, err)
				return
			}
			level := uint32(poclog.LevelBound)
			if w.Profile == poclog.TDX || w.Profile == poclog.SNP {
				level = poclog.LevelChip
			}
			if got.Entry.Level != level {
				t.Errorf("without %v it has level %d", open, got.Entry.Level)
			}
		})
	}
	for _, p := range profiles {
		for _, st := range p.steps {
			why, known := idle[p.name][st.check]
			if has := stopped[stop{p.name, st.check}]; has == known {
				t.Errorf("%s: %s: an attack shows what it is for: %v; listed as idle: %q", p.name, st.check, has, why)
			}
		}
	}
}

// names are the attacks that were foreseen when the profiles were designed.
var names = []string{
	"relay-tpm", "relay-vtpm", "relay-mix", "nonce-shared", "firmware-own", "hcl-forged", "ak-swap", "ak-uncertified", "ak-unrestricted", "ek-reuse",
	"rtmr-forged", "log-swapped", "log-truncated", "log-reordered", "pcr-unselected", "pzid-copied", "registry-forged", "nonce-old", "nonce-foreign",
	"quote-replayed", "bundle-rewrapped", "tpm-rewound", "boot-forked", "debug-td", "tcb-revoked", "pck-revoked", "collateral-old", "lab-root-in-production",
	"zone-lie", "txt-stack-swapped", "clone-chassis", "clone-ak", "malleated-quote",
}

// Why an attack does not apply.
const (
	noTPM      = "the profile has no TPM"
	noHCL      = "only Azure's paravisor makes HCL reports"
	noLogs     = "no event log is compared: there are no registers of the TEE to compare it with"
	noTXT      = "there is no dynamic launch"
	noPZID     = "MROWNER names an instance on Compute Engine alone"
	noRegister = "the provider publishes no register of its chips"
	noPlace    = "the profile proves no place"
	noEKCert   = "no EK certificate is shown: what names an EK is signed by the TEE or not at all"
	paravisor  = "the TPM is inside the TEE: who relays needs firmware of his own, hcl-forged"
	oneSource  = "the AK certificate is the only source of place"
	noZones    = "Azure certifies no place within its cloud: two places of one chip cannot contradict"
	noStatus   = "AMD publishes no status of firmware: tcb-out-of-date is by the policy's minimum"
	chipOnly   = "the profile asks nobody for the launch measurement"
	byRelays   = "relay-rented and relay-unlisted are this attack on a machine of one's own"
)

// inapplicable says of each attack that a profile does not try why.
var inapplicable = map[string]map[poclog.Profile]string{
	"relay-tpm":         {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"relay-vtpm":        {poclog.BareMetalTDXTPM: byRelays, poclog.AzureTDXvTPM: paravisor, poclog.AzureSNPvTPM: paravisor, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"relay-mix":         {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"nonce-shared":      {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"firmware-own":      {poclog.TDX: chipOnly, poclog.SNP: chipOnly},
	"hcl-forged":        {poclog.GCETDXvTPM: noHCL, poclog.BareMetalTDXTPM: noHCL, poclog.TDX: noHCL, poclog.SNP: noHCL},
	"ak-swap":           {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"ak-uncertified":    {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"ak-unrestricted":   {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"ek-reuse":          {poclog.GCETDXvTPM: noEKCert, poclog.AzureTDXvTPM: noEKCert, poclog.AzureSNPvTPM: noEKCert, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"rtmr-forged":       {poclog.AzureTDXvTPM: noLogs, poclog.AzureSNPvTPM: noLogs, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"log-swapped":       {poclog.AzureTDXvTPM: noLogs, poclog.AzureSNPvTPM: noLogs, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"log-truncated":     {poclog.AzureTDXvTPM: noLogs, poclog.AzureSNPvTPM: noLogs, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"log-reordered":     {poclog.AzureTDXvTPM: noLogs, poclog.AzureSNPvTPM: noLogs, poclog.TDX: noTPM, poclog.SNP: noTPM},
	"pcr-unselected":    {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"pzid-copied":       {poclog.BareMetalTDXTPM: noPZID, poclog.AzureTDXvTPM: noPZID, poclog.AzureSNPvTPM: noPZID, poclog.TDX: noPZID, poclog.SNP: noPZID},
	"registry-forged":   {poclog.AzureTDXvTPM: noRegister, poclog.AzureSNPvTPM: noRegister, poclog.TDX: noRegister, poclog.SNP: noRegister},
	"quote-replayed":    {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"tpm-rewound":       {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"boot-forked":       {poclog.TDX: noTPM, poclog.SNP: noTPM},
	"tcb-revoked":       {poclog.AzureSNPvTPM: noStatus, poclog.SNP: noStatus},
	"zone-lie":          {poclog.AzureTDXvTPM: oneSource, poclog.TDX: noPlace, poclog.SNP: noPlace},
	"txt-stack-swapped": {poclog.GCETDXvTPM: noTXT, poclog.AzureTDXvTPM: noTXT, poclog.AzureSNPvTPM: noTXT, poclog.TDX: noTXT, poclog.SNP: noTXT},
	"clone-chassis":     {poclog.AzureTDXvTPM: noZones, poclog.AzureSNPvTPM: noZones, poclog.TDX: noPlace, poclog.SNP: noPlace},
	"clone-ak":          {poclog.TDX: noTPM, poclog.SNP: noTPM},
}

// Every attack that was foreseen is tried under every profile, or the reason why not is given.
func TestEveryAttackIsTriedWhereItApplies(t *testing.T) {
	tried := make(map[string]bool)
	note := func(p poclog.Profile, name string) {
		if p == "" {
			p = poclog.GCETDXvTPM
		}
		id := fmt.Sprintf("%s %s", p, name)
		if tried[id] {
			t.Errorf("%s twice", id)
		}
		tried[id] = true
	}
	for _, a := range attack.All() {
		note(a.Profile, a.Name)
	}
	for _, a := range attack.AllSeries() {
		note(a.Profile, a.Name)
	}
	for _, name := range names {
		for _, p := range profiles {
			why := inapplicable[name][p.name]
			if has := tried[fmt.Sprintf("%s %s", p.name, name)]; has == (why != "") {
				t.Errorf("%s under %s: tried %v, and listed as inapplicable for %q", name, p.name, has, why)
			}
		}
	}
}

// The concepts say what each word promises, and name the tests that hold it: they exist.
func TestWordsOfVerdictsAreHeldByTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Words, and what they promise\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile(`(?m)^\| \*.* \|$`).FindAllString(table, -1) {
		words, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		for word := range strings.SplitSeq(words, ", ") {
			rows[strings.Trim(word, "*")] = row
		}
	}
	for _, word := range []string{"audited", "reappraised", "logged", "joined", "implicated", "affected", "place", "hint", "unproven"} {
		if rows[word] == "" {
			t.Errorf("no row has the word %s", word)
		}
	}
	for word, row := range rows {
		last := row[strings.LastIndex(strings.TrimSuffix(row, " |"), "|")+1:]
		dir, held := "", 0
		for _, name := range regexp.MustCompile("`([A-Za-z/]+)`").FindAllStringSubmatch(last, -1) {
			if !strings.HasPrefix(name[1], "Test") {
				dir = name[1]
				continue
			}
			held++
			if !hasTest(t, "../../"+dir, name[1]) {
				t.Errorf("%s: %s has no test %s", word, dir, name[1])
			}
		}
		if held == 0 {
			t.Errorf("%s: no test holds what it promises: %q", word, row)
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(dir + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}

// tags are how docs/attacks.md names the profiles.
var tags = map[string]poclog.Profile{
	"gce": poclog.GCETDXvTPM, "metal": poclog.BareMetalTDXTPM, "azure-tdx": poclog.AzureTDXvTPM, "azure-snp": poclog.AzureSNPvTPM, "tdx": poclog.TDX, "snp": poclog.SNP,
}

// The pages of attacks have a row for every attack, with what stops it and the profiles under which it
// is tried, and for no other.
func TestPageNamesEveryAttack(t *testing.T) {
	var page []byte
	for _, name := range []string{"attacks.md", "attacks-over-time.md"} {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
	}
	rows := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| .* \\| `([a-z0-9.-]+)` \\| ([a-z, -]+) \\|$").FindAllStringSubmatch(string(page), -1) {
		under := strings.Split(m[3], ", ")
		if m[3] == "all" {
			under = slices.Collect(maps.Keys(tags))
		}
		for _, tag := range under {
			if tags[tag] == "" {
				t.Errorf("%s: under %q", m[1], tag)
			}
			rows[m[1]+" "+m[2]+" "+string(tags[tag])] = true
		}
	}
	has := func(name, stop string, p poclog.Profile) {
		if p == "" {
			p = poclog.GCETDXvTPM
		}
		row := name + " " + stop + " " + string(p)
		if !rows[row] {
			t.Errorf("no row says %s", row)
		}
		delete(rows, row)
	}
	for _, a := range attack.All() {
		has(a.Name, string(a.Check), a.Profile)
	}
	for _, a := range attack.AllSeries() {
		has(a.Name, a.Rule, a.Profile)
	}
	for row := range rows {
		t.Errorf("a row says %s, which is not tried", row)
	}
}
