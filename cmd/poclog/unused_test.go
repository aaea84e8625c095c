package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/terminal"
)

// invoke runs a command line.
func invoke(t *testing.T, args ...string) (status int, stderr string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"} {
		t.Setenv(name, dir)
	}
	var errs strings.Builder
	status = runTo(terminal.NewWriter(io.Discard), terminal.NewWriter(&errs), args)
	return status, errs.String()
}

func put(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func marshalled(t *testing.T, n interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	b, err := n.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A flag that has no effect is wrong usage: what was asked for is not dropped in silence.
func TestFlagsWithoutEffectAreRefused(t *testing.T) {
	bundle := put(t, "vm.bundle.json", marshalled(t, attack.NewWorld().Honest()))
	none := filepath.Join(t.TempDir(), "none")
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		args    string
		refused string
	}{
		{"attest --check --user-data F --log http://127.0.0.1:1 --policy F", "--user-data"},
		{"attest --check --yes --log http://127.0.0.1:1 --policy F", "--yes"},
		{"attest --check --collateral F --log http://127.0.0.1:1 --policy F", "--collateral"},
		{"attest --check --keep 3 --log http://127.0.0.1:1 --policy F", "--keep"},
		{"attest --yes -o OUT --collateral F --policy F", "--collateral"},
		{"attest --yes -o OUT --key F --policy F", "--key"},
		{"attest --yes -o OUT --state F --policy F", "--state"},
		{"attest --yes -o OUT --json --policy F", "--json"},
		{"attest --yes -o - --force --policy F", "--force"},
		{"attest --yes --submit --receipt OUT --keep 3 --policy F", "--keep"},
		{"attest --yes -o OUT --profile tdx --tcg-log BUNDLE --policy F", "--tcg-log"},
		{"attest --yes -o OUT --profile azure-tdx-vtpm --persist 0x81000001 --policy F", "--persist"},
		{"challenge --profile tdx --ak F -o OUT --policy F", "--ak"},
		{"challenge --profile azure-tdx-vtpm --ak F -o OUT --policy F", "--ak"},
		{"collateral fetch BUNDLE --ca processor -o OUT", "--ca"},
		{"collateral fetch --fmspc 00806f050000 --kds http://127.0.0.1:1 -o OUT", "--kds"},
		{"collateral fetch --fmspc 00806f050000 --launch-endorsements http://127.0.0.1:1 -o OUT", "--launch-endorsements"},
		{"collateral show BUNDLE --cache-dir F", "--cache-dir"},
		{"collateral show BUNDLE --pcs http://127.0.0.1:1", "--pcs"},
		{"collateral add --alliance-token F --root F -o OUT", "--root"},
		{"collateral add --owner-endorsement F --bundle F -o OUT", "--bundle"},
		{"import azure BUNDLE --tpm /dev/tpm0 -o OUT", "--tpm"},
		{"import azure BUNDLE --imds http://127.0.0.1:1 -o OUT", "--imds"},
		{"import snp BUNDLE --cache-dir F -o OUT", "--cache-dir"},
		{"import snp BUNDLE --appraisal F -o OUT", "--appraisal"},
		{"import tdx BUNDLE -o - --force", "--force"},
		{"lab attack --list -o OUT", "--output"},
		{"log init OUT --origin log.test --appraisal F --allow-historical", "--allow-historical"},
		{"log serve F --pcs off --kds off --launch-endorsements off --unsafe-without-collateral", "--unsafe-without-collateral"},
		{"log serve F --pcs off --kds off --launch-endorsements off --collateral-cache F", "--collateral-cache"},
		{"log serve F --pcs off --kds off --launch-endorsements off --drain 1s", "--drain"},
		{"monitor run --once --interval 10s", "--interval"},
		{"monitor run --webhook-secret F", "--webhook-secret"},
		{"monitor run --every 10m", "--every"},
		{"monitor tell --alerts - --webhook-secret F --dir MONITOR", "--webhook-secret"},
		{"monitor tell --watch-file F --every 10m --dir MONITOR", "--every"},
		{"monitor judge --collateral F --pcs http://127.0.0.1:1", "--pcs"},
		{"refresh F -o - --force --policy F", "--force"},
		{"sign BUNDLE --key F -o - --force", "--force"},
		{"witness serve F --listen 127.0.0.1:0 --agent F", "--agent"},
	} {
		monitor := filepath.Join(t.TempDir(), "monitor")
		if strings.Contains(c.args, "MONITOR") {
			if status, stderr := invoke(t, "monitor", "init", "--dir", monitor); status != 0 {
				t.Fatal(stderr)
			}
		}
		args := strings.Fields(c.args)
		for i, a := range args {
			if to, ok := map[string]string{"F": none, "OUT": out, "BUNDLE": bundle, "MONITOR": monitor}[a]; ok {
				args[i] = to
			}
		}
		status, stderr := invoke(t, args...)
		if status != exitUsage || !strings.Contains(stderr, c.refused) {
			t.Errorf("poclog %s: status %d: %s: want 2, and %s named", c.args, status, stderr, c.refused)
		}
	}
	if fileExists(out) {
		t.Error("something was written")
	}
}

// exampleOf is a value that a flag takes.
func exampleOf(name string) string {
	values := map[string]string{
		"profile": "tdx", "level": "0", "realm": "lab", "place": "gce", "chassis": "intel:tdx:ppid:00112233445566778899aabbccddeeff", "require": "tee.chain",
		"verdict": "audited", "max-age": "10m", "max-checkpoint-age": "10m", "max-interval": "10m", "at": "2026-06-01T12:00:00Z", "move-time": "1h", "swap-time": "1h", "since": "24h", "verbose": "true",
	}
	if v, ok := values[name]; ok {
		return v
	}
	return "/does/not/exist"
}

// beginnings are those of each kind of file.
var beginnings = map[string]string{
	"a receipt": receiptStart, "a bundle": bundleStart, "an envelope": `{"payloadType":`, "a submission": submissionStart, "a dossier": `{"v":1,"index":`,
	"a wrong index": `{"v":1,"rule":"index-wrong"`, "a split view": splitViewStart, "a contradiction": contradictionStart,
}

// Every demand that a kind of file cannot answer is wrong usage, and every flag of verify has an
// effect on some kind.
func TestVerifyRefusesDemandsThatAFileCannotAnswer(t *testing.T) {
	v := new(verifyCmd)
	used := map[string]bool{"json": true}
	for _, k := range v.kinds() {
		for _, name := range k.flags {
			used[name] = true
		}
	}
	var all []string
	flags := newVerifyCmd()
	for _, k := range v.kinds() {
		file := put(t, "file", []byte(beginnings[k.name]))
		for name := range used {
			if flags.Flags().Lookup(name) == nil {
				t.Errorf("%s: there is no flag --%s", k.name, name)
			}
			if name == "json" || slices.Contains(k.flags, name) {
				continue
			}
			status, stderr := invoke(t, "verify", file, "--"+name+"="+exampleOf(name))
			if status != exitUsage || !strings.Contains(stderr, "--"+name+": "+k.name+" cannot answer that") {
				t.Errorf("%s: --%s: status %d: %s", k.name, name, status, stderr)
			}
		}
		all = append(all, k.flags...)
	}
	all = append(all, "help", "json")
	flags.Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(all, f.Name) {
			t.Errorf("--%s has an effect on no kind of file", f.Name)
		}
	})
	receipt := put(t, "vm.tlog-proof", []byte(receiptStart))
	for name, needs := range map[string]string{
		"envelope": "bundle", "collateral": "bundle", "appraisal": "bundle", "since": "dossier", "covers": "dossier", "move-time": "dossier", "swap-time": "dossier",
	} {
		if status, stderr := invoke(t, "verify", receipt, "--"+name, exampleOf(name)); status != exitUsage || !strings.Contains(stderr, "without --"+needs) {
			t.Errorf("a receipt, --%s: status %d: %s", name, status, stderr)
		}
	}
}

// newPublisher makes a key, which the policy of a world lists.
func newPublisher(t *testing.T, w *attack.World) *signer.Signer {
	t.Helper()
	file, key, err := signer.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := put(t, "publisher.key", file)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := signer.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Policy.Publishers = &poclog.Publishers{Threshold: 1, Keys: []string{key.String()}}
	return s
}

// The publisher of a submission does not choose what he is judged by: a registry's answer that he
// wrote himself is refused, and so is a time beside a challenge.
func TestVerifyTakesNoUnsignedWordFromThePublisher(t *testing.T) {
	w := attack.NewWorld()
	key := newPublisher(t, w)
	home := w.Cloud.Maker.NewPlatform("at home", nil)
	atHome := w.Assemble(attack.Mix{Chip: home, TD: func(td *chip.TD) { td.MROwner = [48]byte{} }})
	register := w.Collateral.With(poclog.CollateralItem{
		Kind: poclog.ChipRegistry, URL: attack.RegistryURL + fmt.Sprintf("%x", home.PPID), Time: attack.Now, Status: 200,
		Body: []byte(`{"zone":"lab-north1-a","timestamp":"2026-05-01T00:00:00Z"}`),
	})
	signed := new(poclog.Collateral)
	for _, it := range w.Collateral.Items {
		if it.Kind.Signed() {
			signed = signed.With(it)
		}
	}
	policy := put(t, "policy.json", marshalled(t, w.Policy))
	for name, c := range map[string]struct {
		sub   poclog.Submission
		check string
	}{
		"a register of his own":  {poclog.Submission{Bundle: marshalled(t, atHome), Collateral: marshalled(t, register)}, "collateral"},
		"a time of his choosing": {poclog.Submission{Bundle: marshalled(t, w.Honest()), Collateral: marshalled(t, signed), Judged: attack.Now}, "fresh.challenge"},
	} {
		envelope, err := signer.Seal(t.Context(), &c.sub, key)
		if err != nil {
			t.Fatal(err)
		}
		for kind, file := range map[string][]byte{"envelope": envelope, "submission": marshalled(t, &c.sub)} {
			path := put(t, kind+".json", file)
			cmd := exec.Command(program(t, "poclog"), "verify", path, "--appraisal", policy, "--realm", "lab", "--json")
			b, _ := cmd.Output() // the status says
			var r struct {
				OK          bool
				Kind, Check string
			}
			if err := json.Unmarshal(b, &r); err != nil || cmd.ProcessState.ExitCode() != exitNo || r.OK || r.Kind != kind || r.Check != c.check {
				t.Errorf("%s in a %s: status %d: %s: want %s", name, kind, cmd.ProcessState.ExitCode(), b, c.check)
			}
		}
	}
	// The reader's own collateral and time are the reader's: the envelope says what is judged.
	honest, err := signer.Seal(t.Context(), &poclog.Submission{Bundle: marshalled(t, w.Honest())}, key)
	if err != nil {
		t.Fatal(err)
	}
	mine := put(t, "mine.json", marshalled(t, w.Collateral))
	status, stderr := invoke(t, "verify", put(t, "honest.json", honest), "--appraisal", policy, "--realm", "lab", "--collateral", mine, "--at", attack.Now.Format(time.RFC3339))
	if status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
}
