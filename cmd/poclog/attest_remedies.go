package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// remedies say to people how to get what evidence lacks. Flags are those of `poclog attest`.
var remedies = map[attest.Remedy]string{
	attest.RunInTDX: "run in a TDX guest with Linux 6.7 or newer, as root or with write access to " +
		"/sys/kernel/config/tsm/report (docs/publishing/service.md)",
	attest.RunInAzure:  "run in a confidential VM of Azure (a size of the DCesv5, ECesv5 or DCesv6 series): only its vTPM holds an HCL report",
	attest.ReachIMDS:   "run in a confidential VM of Azure with TDX, and reach its instance metadata service, " + importer.AzureIMDS,
	attest.GrantTPM:    "give the process the TPM: run as root or in the group tss, in a container with --device /dev/tpmrm0; --tpm names another device or a socket",
	attest.EnableBanks: "have the firmware switch on the TPM's SHA-256 and SHA-384 banks, and boot again",
	attest.RemakeVM: "make the VM anew with its vTPM on: Compute Engine writes the AK's template " +
		"and certificate when a VM is made",
	attest.ChooseHandle:    "choose a free handle for --persist, or leave it out: the AK can be made anew at each use",
	attest.CertifyAK:       "have the provider certify an AK whose policy is TPM2_PolicyPCR over PCR 17 and 18, and give it: --ak HANDLE or TEMPLATE, --ak-chain CERTIFICATES (docs/publishing/bare-metal.md)",
	attest.BootLaunch:      "boot the launch for which the provider certified the AK, or have it certify one for the launch that runs",
	attest.GiveAKIssuers:   "give the issuers' certificates up to the root, PEM or DER: --ak-chain FILE",
	attest.GiveEKIssuers:   "give the EK's certificate and its issuers up to the root, PEM or DER: --ek-chain FILE; the TPM's maker publishes them",
	attest.GiveTCGLog:      "read /sys/kernel/security/tpm0/binary_bios_measurements as root, or give a copy: --tcg-log FILE",
	attest.GiveCCEL:        "read /sys/firmware/acpi/tables/data/CCEL as root, or give a copy: --ccel FILE; a TD's firmware and kernel 6.3 or newer provide it",
	attest.UseImporter:     "make the evidence with another tool, and import it",
	attest.NameLog:         "name it, and whose signatures count: --log URL --policy FILE; a log's operator publishes policy.txt",
	attest.ReachLog:        "see whether the address is right, the network reaches it, and the tlog-policy is the log's: --log, --policy",
	attest.AskLogsOperator: "ask the log's operator; the address may be a mirror's",
	attest.UseAnotherLog:   "use a log that admits the profile",
}

// remedyCommands are what people paste into a shell to follow a remedy.
var remedyCommands = map[attest.Remedy][]string{
	attest.RunInTDX:      {"sudo modprobe tdx_guest", "sudo mount -t configfs none /sys/kernel/config"},
	attest.ReachIMDS:     {"curl -H Metadata:true '" + importer.AzureIMDS + "/metadata/instance?api-version=2021-02-01'"},
	attest.GrantTPM:      {"sudo usermod -a -G tss $USER"},
	attest.EnableBanks:   {"sudo tpm2_pcrallocate sha256:all+sha384:all", "sudo reboot"},
	attest.RemakeVM:      {"gcloud compute instances create NAME --confidential-compute-type=TDX --maintenance-policy=TERMINATE --shielded-vtpm"},
	attest.ChooseHandle:  {"tpm2_getcap handles-persistent"},
	attest.CertifyAK:     {"poclog attest --check --ak HANDLE --ak-chain FILE"},
	attest.GiveAKIssuers: {"poclog attest --check --ak-chain FILE"},
	attest.GiveEKIssuers: {"poclog attest --check --ek-chain FILE"},
	attest.GiveTCGLog:    {"sudo mount -t securityfs none /sys/kernel/security", "poclog attest --check --tcg-log FILE"},
	attest.GiveCCEL:      {"poclog attest --check --ccel FILE"},
	attest.UseImporter:   {"poclog import --help"},
	attest.NameLog:       {"poclog policy add-log policy.txt URL", "poclog attest --check --log URL --policy policy.txt"},
	attest.ReachLog:      {"poclog policy show policy.txt"},
}

// remedyWords say how to get a piece of a profile's evidence.
func remedyWords(r attest.Remedy, p poclog.Profile) string {
	if r == attest.UseAnotherLog && p != "" {
		return fmt.Sprintf("use a log that admits profile %s", p)
	}
	return remedies[r]
}

// remedy says it with the commands, between backquotes.
func remedy(r attest.Remedy, p poclog.Profile) string {
	text := remedyWords(r, p)
	if commands := remedyCommands[r]; len(commands) > 0 {
		text += ": `" + strings.Join(commands, "`; `") + "`"
	}
	return text
}

// requirementJSON is a requirement in the report of --check.
type requirementJSON struct {
	Name   string        `json:"name"`
	OK     bool          `json:"ok"`
	Detail string        `json:"detail"`
	Remedy attest.Remedy `json:"remedy,omitempty"`
	How    string        `json:"how,omitempty"` // the remedy in words
	Run    []string      `json:"run,omitempty"` // commands that follow it
}

// reportJSON is the report of --check.
type reportJSON struct {
	V            int               `json:"v"`
	OK           bool              `json:"ok"`
	Cloud        attest.Cloud      `json:"cloud"`
	Profile      poclog.Profile    `json:"profile,omitempty"`
	Requirements []requirementJSON `json:"requirements"`
	Checks       []prospectJSON    `json:"checks,omitempty"` // of evidence that was taken to try, without a challenge
}

func reportOf(r *attest.Report) *reportJSON {
	out := &reportJSON{V: 1, OK: r.OK(), Cloud: r.Cloud, Profile: r.Profile, Requirements: []requirementJSON{}}
	for _, q := range r.Requirements {
		out.Requirements = append(out.Requirements, requirementJSON{q.Name, q.OK, q.Detail, q.How, remedyWords(q.How, r.Profile), remedyCommands[q.How]})
	}
	if r.Outlook == nil {
		return out
	}
	for _, c := range r.Outlook.Checks {
		out.Checks = append(out.Checks, prospectJSON{c.Check, c.State, c.Why, c.Lacks, howToCarry(r.Profile, &c)})
	}
	return out
}

// printProblems shows what of the evidence that was taken to try would not pass, and can be mended:
// a challenge comes with the proof itself.
func printProblems(w io.Writer, r *attest.Report) {
	if r.Outlook == nil {
		return
	}
	for _, c := range r.Outlook.Checks {
		way := howToCarry(r.Profile, &c)
		if c.State == profile.Carried || c.Check == verify.FreshChallenge || way == adviceNone {
			continue
		}
		labelled(w, fmt.Sprintf("%-8s %-11s ", c.State, c.Check), c.Why)
		labelled(w, fmt.Sprintf("%-8s %-11s to get it: ", "", ""), way)
	}
}

// printRequirements shows what is there, and then what is missing, each remedy once with all that
// it brings, and its commands on lines of their own.
func printRequirements(w io.Writer, list []requirementJSON) {
	const label = "%-8s %-11s "
	var groups [][]requirementJSON
	for _, q := range list {
		if q.OK {
			painted(w, terminal.Good, "ok", fmt.Sprintf(label, "ok", q.Name), q.Detail)
			continue
		}
		at := slices.IndexFunc(groups, func(g []requirementJSON) bool { return q.Remedy != "" && g[0].Remedy == q.Remedy })
		if at < 0 {
			at = len(groups)
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], q)
	}
	for _, g := range groups {
		for _, q := range g {
			painted(w, terminal.Bad, "missing", fmt.Sprintf(label, "missing", q.Name), q.Detail)
		}
		if g[0].How != "" {
			labelled(w, fmt.Sprintf("%-8s to get it: ", ""), g[0].How)
		}
		for _, command := range g[0].Run {
			fmt.Fprintln(w, terminal.Command(command, 4, widthOf(w)))
		}
	}
}
