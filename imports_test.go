package poclog_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/poclog/poclog"

// rules say what packages may not import, by the beginning of their path within the module.
// Dependencies point down: cmd, then the actors (log, witness, publish, monitor), then client and
// collateral, then verify, then the nouns.
var rules = []struct {
	from string
	not  []string
}{
	{"", paths("cmd", "log", "witness", "publish", "monitor", "client", "collateral", "verify", "internal/signer", "internal/lab", "internal/durable", "internal/sqlite", "internal/httpd", "internal/indexmap")}, // the nouns import the codec alone
	{"internal/canon", []string{module}},
	{"verify", append(paths("cmd", "log", "witness", "publish", "monitor", "client", "collateral", "internal/signer", "internal/lab", "internal/durable", "internal/sqlite", "internal/httpd", "internal/indexmap"), "net/http", "os", tessera)},
	{"verify/receipt", append(paths("verify/tdx", "verify/snp", "verify/tpm", "verify/profile"), "github.com/google/go-tdx-guest")},
	{"client", append(paths("cmd", "log", "witness", "publish", "monitor", "collateral", "verify/profile"), tessera)},
	{"collateral", append(paths("cmd", "log", "witness", "publish", "monitor", "client"), tessera)},
	{"publish", append(paths("cmd", "log", "witness", "monitor"), tessera)},
	{"monitor", append(paths("cmd", "log", "witness", "publish"), tessera)},
	{"log", paths("cmd", "witness", "publish", "monitor", "client")},
	{"witness", append(paths("cmd", "log", "publish", "monitor"), tessera)},
	{"internal", append(paths("cmd"), tessera)},
	{"cmd", []string{tessera}},      // nobody but log and the packages below it
	{"log", paths("internal/must")}, // and so what else reads bytes from outside
	{"witness", paths("internal/must")},
	{"monitor", paths("internal/must")},
	{"publish", paths("internal/must")},
	{"client", paths("internal/must")},
	{"collateral", paths("internal/must")},
	{"verify", paths("internal/must")},
	{"cmd", paths("internal/must")},
	{"", paths("internal/must")},
	{"internal/signer", paths("log", "witness", "publish", "monitor", "client", "collateral", "verify/profile")},
}

const tessera = "github.com/transparency-dev/tessera"

func paths(rel ...string) (abs []string) {
	for _, r := range rel {
		abs = append(abs, module+"/"+r)
	}
	return abs
}

func TestDependenciesPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		path := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		packages++
		for _, r := range rules {
			in := path == r.from || r.from != "" && strings.HasPrefix(path, r.from+"/")
			for _, not := range r.not {
				not = strings.TrimSuffix(not, "/")
				if in && slices.ContainsFunc(fields[1:], func(i string) bool { return i == not || strings.HasPrefix(i, not+"/") }) {
					t.Errorf("%s imports %s", fields[0], not)
				}
			}
		}
	}
	if packages < 10 {
		t.Errorf("%d packages", packages)
	}
}
