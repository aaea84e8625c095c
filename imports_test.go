package poclog_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/poclog/poclog"

// rules say what packages may not import, by the beginning of their path within the module. Dependencies point down one list: cmd, then log,
// witness and client, then verify, then the nouns.
var rules = []struct{ from, not string }{
	{"", module + "/"}, // the nouns import nothing of the module
	{"verify", module + "/log"}, {"verify", module + "/witness"}, {"verify", module + "/client"}, {"verify", module + "/cmd"}, {"verify", module + "/internal"},
	{"verify", "net/http"}, {"verify", "os"}, {"verify", "github.com/transparency-dev/tessera"},
	{"verify/receipt", "github.com/google/go-tdx-guest"}, {"verify/receipt", module + "/verify/tdx"}, {"verify/receipt", module + "/verify/profile"},
	{"signer", module + "/log"}, {"signer", module + "/witness"}, {"signer", module + "/client"}, {"signer", module + "/cmd"}, {"signer", module + "/verify/profile"},
	{"client", module + "/log"}, {"client", module + "/witness"}, {"client", "github.com/transparency-dev/tessera"},
	{"log", module + "/client"}, {"log", module + "/witness"}, {"log", module + "/cmd"},
	{"witness", module + "/log"}, {"witness", "github.com/transparency-dev/tessera"},
	{"internal", module + "/cmd"}, {"internal", "github.com/transparency-dev/tessera"},
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
			if in && slices.ContainsFunc(fields[1:], func(i string) bool {
				return i == strings.TrimSuffix(r.not, "/") || strings.HasPrefix(i, strings.TrimSuffix(r.not, "/")+"/")
			}) {
				t.Errorf("%s imports %s", fields[0], r.not)
			}
		}
	}
	if packages < 10 {
		t.Errorf("%d packages", packages)
	}
}
