package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/poclog/poclog"
)

// cmdKMS puts a key management system's plugin on the PATH: test://FILE is the key in FILE.
func cmdKMS(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.MkAbs("plugins")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", filepath.Join(dir, "sigstore-kms-test"), "github.com/poclog/poclog/internal/testkms/plugin")
	if out, err := build.CombinedOutput(); err != nil {
		ts.Fatalf("build the plugin: %v\n%s", err, out)
	}
	ts.Setenv("PATH", dir+string(os.PathListSeparator)+ts.Getenv("PATH"))
}

// showKey is what `poclog key show` says of a key.
func showKey(ts *testscript.TestScript, ref string) (shown struct{ Policy, SHA256 string }) {
	ts.Check(ts.Exec("poclog", "key", "show", ref, "--json"))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &shown))
	return shown
}

// cmdPublishers has a log's policy admit what a threshold of keys signed: publishers DIR THRESHOLD
// KEY...
func cmdPublishers(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(filepath.Join(args[0], "appraisal.json"))
	p, err := poclog.ParsePolicy([]byte(ts.ReadFile(path)))
	ts.Check(err)
	p.Publishers = new(poclog.Publishers)
	p.Publishers.Threshold, err = strconv.Atoi(args[1])
	ts.Check(err)
	for _, ref := range args[2:] {
		p.Publishers.Keys = append(p.Publishers.Keys, showKey(ts, ref).Policy)
	}
	slices.Sort(p.Publishers.Keys)
	file, err := p.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(path, file, 0o644))
}

// cmdDigest sets DIGEST to that of a key.
func cmdDigest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DIGEST", showKey(ts, args[0]).SHA256)
}
