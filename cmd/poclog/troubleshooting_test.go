package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The situation in which docs/troubleshooting.md is tried: a laboratory, and five logs. `mylog` has
// one proof. `copy` was copied before, and went another way. `other` has the same name and other
// keys. The only witness of `waiting` does not answer. `witnessed` has one witness, and
// stricter.txt demands another one, too.
const troubles = `
poclog lab up cloud --chassis 2 --vms 3
poclog log init mylog --origin log.example/2026 --url http://127.0.0.1:8080 --appraisal cloud/appraisal.json
cp -r mylog copy && cp mylog.guard copy.guard
poclog log init other --origin log.example/2026 --url http://127.0.0.1:8081 --appraisal cloud/appraisal.json
poclog log init witnessed --origin witnessed.example/2026 --url http://127.0.0.1:8085 --appraisal cloud/appraisal.json
poclog witness serve w2 --name witness.example/w2 --listen 127.0.0.1:8086 --policy witnessed/policy.txt &
poclog policy add-witness witnessed/policy.txt http://127.0.0.1:8086 --yes && poclog policy quorum witnessed/policy.txt 1 w2
poclog log serve witnessed --listen 127.0.0.1:8085 &
poclog lab prove cloud --policy witnessed/policy.txt -o seen
poclog submit seen/000000.bundle.json --collateral seen/lab.collateral.json --policy witnessed/policy.txt -o witnessed.tlog-proof --yes
poclog log init waiting --origin waiting.example/2026 --url http://127.0.0.1:8083 --appraisal cloud/appraisal.json
poclog witness serve w1 --name witness.example/w1 --listen 127.0.0.1:8084 --policy waiting/policy.txt & W=$!; until poclog policy add-witness waiting/policy.txt http://127.0.0.1:8084 --yes; do sleep 0.1; done; kill $W; wait $W
poclog policy quorum waiting/policy.txt 1 w1
cp witnessed/policy.txt stricter.txt
poclog witness serve w3 --name witness.example/w3 --listen 127.0.0.1:8087 & W=$!; until poclog policy add-witness stricter.txt http://127.0.0.1:8087 --yes; do sleep 0.1; done; kill $W; wait $W
poclog policy quorum stricter.txt 2 w2 w3
poclog log serve mylog --listen 127.0.0.1:8080 --index-interval 1h &
poclog log serve other --listen 127.0.0.1:8081 --index-interval 1h &
poclog log serve copy --listen 127.0.0.1:8082 --index-interval 1h &
poclog log serve waiting --listen 127.0.0.1:8083 &
export POCLOG_POLICY=mylog/policy.txt
poclog lab prove cloud --count 3 -o vms
poclog submit vms/000000.bundle.json --collateral vms/lab.collateral.json --yes -o vm.tlog-proof
poclog log init stopped --origin stopped.example/2026 --appraisal cloud/appraisal.json
cp -r stopped unguarded
cp -r stopped open && cp stopped.guard open.guard && chmod 644 open/keys/ed25519.key
cp -r stopped twice && cp stopped.guard twice.guard && cp waiting/policy.txt twice/policy.txt && sed -i -e 's/^group w1 any/group w1 2/' twice/policy.txt
`

// producers are the commands that produce each message of the page.
var producers = map[string]string{
	"no tlog-policy": "POCLOG_POLICY= poclog verify vm.tlog-proof",
	"realm: the entry is of realm lab, want production":                           "poclog verify vm.tlog-proof",
	"place: the place is …":                                                       "poclog verify vm.tlog-proof --realm lab --place gce/lab-south1-a",
	"max-age: … the policy's quorum names no witness: there is an order, no time": "poclog verify vm.tlog-proof --realm lab --max-age 10m",
	`your tlog-policy has no group "auditors" of auditors`:                        "poclog verify vm.tlog-proof --realm lab --verdict audited",
	"require: check place.registry did not pass":                                  "poclog verify vm.tlog-proof --realm lab --require place.registry",
	"checkpoint: … signed by nobody whom the policy names":                        "poclog verify vm.tlog-proof --realm lab --policy other/policy.txt",
	"cosigned by …: not the policy's quorum":                                      "poclog verify witnessed.tlog-proof --realm lab --policy stricter.txt",
	"neither a receipt, a dossier, a bundle, …":                                   "poclog verify mylog/policy.txt",
	"there is no terminal to ask":                                                 "poclog submit vms/000001.bundle.json -o 1.tlog-proof </dev/null",
	"there is no collateral of Intel's for the platform":                          "poclog submit vms/000001.bundle.json -o 1.tlog-proof --yes",
	"… exists":             "poclog submit vms/000001.bundle.json -o vm.tlog-proof --yes",
	"there is no folder …": "poclog submit vms/000001.bundle.json -o nowhere/1.tlog-proof --yes",
	"the log had this evidence already, as entry …":  "poclog submit vms/000000.bundle.json --collateral vms/lab.collateral.json -o again.tlog-proof --yes",
	"connect: connection refused":                    "poclog log entries http://127.0.0.1:1",
	"no checkpoint was published yet: waiting for …": "poclog log entries http://127.0.0.1:8083 --policy waiting/policy.txt",
	"the log has no index entry yet":                 "poclog dossier vm.tlog-proof -o vm.dossier.json",
	"configfs-tsm: …":                                "poclog attest --check --profile tdx",
	"is signed by no key of the policy":              "poclog submit vms/000001.bundle.json -o 1.tlog-proof --yes --policy other/policy.txt",
	"cannot show that it goes on from size …":        "poclog submit vms/000001.bundle.json -o 1.tlog-proof --yes --log http://127.0.0.1:8082",
	"is damaged: …":                                  "cp -r .state damaged && for f in damaged/poclog/checkpoints/*.checkpoint; do echo rubbish >$f; done; XDG_STATE_HOME=$PWD/damaged poclog submit vms/000001.bundle.json -o 1.tlog-proof --yes",
	"SPLIT VIEW: log … signed two histories":         "(export XDG_STATE_HOME=$PWD/stranger; poclog lab prove cloud --log http://127.0.0.1:8082 -o theirs && poclog submit theirs/000000.bundle.json --collateral vms/lab.collateral.json --log http://127.0.0.1:8082 -o theirs.tlog-proof --yes); poclog submit vms/000001.bundle.json -o 1.tlog-proof --yes --log http://127.0.0.1:8082",
	"no log here":                      "poclog log serve nothing",
	"another process serves this log":  "poclog log serve mylog --listen 127.0.0.1:0",
	"guard file … is missing":          "poclog log serve unguarded --listen 127.0.0.1:0",
	"has mode 0644: want 0600":         "poclog log serve open --listen 127.0.0.1:0",
	"one witness must not count twice": "poclog log serve twice --listen 127.0.0.1:0",
	"no earlier line defines it":       "poclog policy quorum mylog/policy.txt 1 w1",
	"/keys answers 404 Not Found":      "poclog policy add-witness waiting/policy.txt http://127.0.0.1:8080",
	"no monitor here":                  "poclog monitor list cvms --dir nothing",
	"give the log's tlog-policy":       "poclog monitor add-log http://127.0.0.1:8080 --dir nothing",
}

// lastOfAll is the message whose command changes what others see.
const lastOfAll = "SPLIT VIEW: log … signed two histories"

var troubleRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ")

// TestMessagesOfTroubleshootingAreProduced runs a command for each message of
// docs/troubleshooting.md: its output has the message. No message of the page is without a command,
// and no command without a message.
func TestMessagesOfTroubleshootingAreProduced(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[string]bool)
	for _, m := range troubleRow.FindAllStringSubmatch(string(page), -1) {
		messages[m[1]] = true
		if producers[m[1]] == "" {
			t.Errorf("nothing produces %q", m[1])
		}
	}
	dir := t.TempDir()
	var mu sync.Mutex
	free := elsewhere(t)
	run := func(text string) string {
		mu.Lock()
		defer mu.Unlock()
		return free(text)
	}
	var situation []step
	for line := range strings.Lines(strings.TrimSpace(troubles)) {
		situation = append(situation, step{command: run(strings.TrimSpace(line))})
	}
	env := runSteps(t, situation, dir)
	produce := func(message string) string {
		cmd := exec.Command("sh", "-c", run(producers[message]))
		cmd.Dir, cmd.Env = dir, env
		out, _ := cmd.CombinedOutput() // most fail, and the message says with what
		return string(out)
	}
	output := make(map[string]string)
	var together sync.WaitGroup // for many wait and try again
	for message := range producers {
		if !messages[message] {
			t.Errorf("the page lacks %q", message)
		}
		if message == lastOfAll {
			continue
		}
		together.Go(func() {
			out := produce(message)
			mu.Lock()
			defer mu.Unlock()
			output[message] = out
		})
	}
	together.Wait()
	output[lastOfAll] = produce(lastOfAll)
	for message, out := range output {
		want := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(message), "…", ".+"))
		if !want.MatchString(out) {
			t.Errorf("%s: the output lacks %q:\n%s", producers[message], message, out)
		}
	}
}
