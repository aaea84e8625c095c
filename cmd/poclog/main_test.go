package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/terminal"
)

func TestMain(m *testing.M) {
	// A program with the race detector sleeps for a second before it ends, and scripts run 700.
	os.Setenv("GORACE", raceOptions)
	testscript.Main(m, map[string]func(){"poclog": main, guestProgram: guestMain, hasRoots: hasRootsMain})
}

const raceOptions = "atexit_sleep_ms=0"

// TestCommands runs every script of testdata: daemons included.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			root, err := filepath.Abs(filepath.Join("..", ".."))
			if err != nil {
				return err
			}
			env.Setenv("ROOT", root)
			env.Setenv("GORACE", raceOptions)
			if folder, ok := realdata.Folder(); ok {
				env.Setenv("EVIDENCE", folder)
			}
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			return os.MkdirAll(filepath.Join(env.WorkDir, "config"), 0o755)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "offline":
				// Some containers let nobody have a network of his own.
				return exec.Command("unshare", "-rn", "true").Run() == nil, nil
			case "evidence": // real evidence beside this repository, in $EVIDENCE
				_, ok := realdata.Folder()
				return ok, nil
			case "mysqls3": // MariaDB and an S3 server
				return peers.Available(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":  cmdServe,
			"status": cmdStatus,
			"until":  cmdUntil,
			"quote":  cmdQuote,
			"lab":    cmdLab,
			"gotpm":  cmdGoTPM,
			"vector": cmdVector,
			"http":   cmdHTTP,
			"hook":   cmdHook,
			"hide":   cmdHide,

			"endorsed":   cmdEndorsed,
			"kms":        cmdKMS,
			"publishers": cmdPublishers,
			"address":    cmdAddress,
			"reached":    cmdReached,
			"digest":     cmdDigest,
			"store":      cmdStore(t),
			"balance":    cmdBalance(t),
			"counting":   cmdCounting,
		},
	})
}

// cmdServe starts `poclog log serve DIR` until the script ends, and sets LOG to its address.
func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	address := l.Addr().String()
	ts.Check(l.Close())
	cmd := exec.Command("poclog", append([]string{"log", "serve", ts.MkAbs(args[0]), "--listen", address, "--checkpoint-interval", "100ms"}, args[1:]...)...)
	cmd.Path, cmd.Env = lookPath(ts), append(os.Environ(), "PATH="+ts.Getenv("PATH"))
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended, which Wait reports
		if err := cmd.Wait(); err != nil {
			ts.Logf("the log ended: %v", err)
		}
	})
	url := "http://" + address
	for range 500 {
		if resp, err := http.Get(url + "/health"); err == nil {
			resp.Body.Close()
			ts.Setenv("LOG", url)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("the log does not answer at %s", url)
}

// cmdAddress sets variables to free addresses of this machine: `address LOGAT W1AT`.
func cmdAddress(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // each is another's
		ts.Setenv(name, l.Addr().String())
	}
}

// cmdReached waits until a server answers at its address.
func cmdReached(ts *testscript.TestScript, _ bool, args []string) {
	for _, address := range args {
		for tries := 0; ; tries++ {
			if resp, err := http.Get("http://" + address + "/health"); err == nil {
				resp.Body.Close()
				break
			}
			if tries > 3000 {
				ts.Fatalf("nothing answers at %s", address)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// lookPath finds the poclog that testscript made of this test.
func lookPath(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, "poclog"); fileExists(p) {
			return p
		}
	}
	ts.Fatalf("no poclog in PATH")
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// cmdStatus runs a command and wants its exit status: `status 2 poclog …`.
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// cmdUntil runs a command until it succeeds: what is waited for comes, or the script fails.
func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	var err error
	for range 600 {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never succeeds: %v", strings.Join(args, " "), err)
}

// cmdVector writes the members of a vector of testdata, which are files: `vector
// contradictions/clone-ak contradiction=FILE policy=FILE`.
func cmdVector(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(filepath.Join(ts.Getenv("ROOT"), "testdata", args[0]+".json"))
	ts.Check(err)
	var members map[string]any
	ts.Check(json.Unmarshal(b, &members))
	for _, a := range args[1:] {
		member, file, _ := strings.Cut(a, "=")
		text, ok := members[member].(string)
		if !ok {
			ts.Fatalf("vector %s has no %q", args[0], member)
		}
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}

// cmdLab serves what a laboratory's manufacturer and provider publish until the script ends, and
// sets PCS to its address: `lab DIR`, or `lab DIR CERTIFICATE` with a certificate of its own, which
// is written there.
func cmdLab(ts *testscript.TestScript, _ bool, args []string) {
	_, f, err := openLab(ts.MkAbs(args[0]))
	ts.Check(err)
	srv := httptest.NewUnstartedServer(f.publish)
	if len(args) > 1 {
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not know it leave
		srv.StartTLS()
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o644))
	} else {
		srv.Start()
	}
	ts.Defer(srv.Close)
	ts.Setenv("PCS", srv.URL)
}

// cmdQuote writes a production TDX quote, with padding as configfs adds it, and beside it
// getquote.json, as dstack would answer it.
func cmdQuote(ts *testscript.TestScript, _ bool, args []string) {
	padded := append(append([]byte(nil), realdata.Quotes()[0]...), make([]byte, 8000-len(realdata.Quotes()[0]))...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), padded, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("quote.hex"), fmt.Appendf(nil, "%x\n", padded), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("table.bin"), append([]byte("CCEL8\x00\x00\x00\x01"), make([]byte, 47)...), 0o644)) // an ACPI table
	ts.Check(os.WriteFile(ts.MkAbs("getquote.json"), fmt.Appendf(nil, `{"quote":"%x","event_log":"[]","vm_config":"{}"}`, padded), 0o644))
}

// cmdGoTPM writes the attestation of a real VM that comes with go-tpm-tools.
func cmdGoTPM(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-tpm-tools")
	cmd.Dir = ts.Getenv("ROOT")
	dir, err := cmd.Output()
	ts.Check(err)
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/test/attestations/gce-cos-85-nonce9009.pb"))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// cmdEndorsed writes a laboratory's evidence, what judges it, and what a registry and an owner sign
// about its machine, at the laboratory's time.
func cmdEndorsed(ts *testscript.TestScript, _ bool, _ []string) {
	w := attack.NewWorld()
	w.AskAlliance()
	w.AskOwner(w.Owner())
	b := w.Honest()
	s := w.Owner().Statement(w.VM.Platform().PIID[:], attack.Now.AddDate(0, -1, 0))
	s.WithoutRoot = true
	item := w.Owner().Endorse(s)
	for name, n := range map[string]interface{ Marshal() ([]byte, error) }{"vm.bundle.json": b, "judged.collateral.json": w.Collateral, "appraisal.json": w.Policy} {
		file, err := n.Marshal()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name), file, 0o644))
	}
	ts.Check(os.WriteFile(ts.MkAbs("token.jwt"), append(w.Token(b), '\n'), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("answer.json"), fmt.Appendf(nil, `{"machineId":"x","label":"y","jwt":%q}`, w.Token(b)), 0o644))
	// The answers of 2026 have no time; this one is on the quote as configfs pads it, and on the
	// quote alone.
	quote := b.Get(poclog.ItemTDXQuote)
	for name, shown := range map[string][]byte{"bare.json": quote, "padded.json": append(bytes.Clone(quote), make([]byte, 8000-len(quote))...)} {
		ppid := w.VM.Platform().PPID
		token := w.Alliance().BareToken(shown, ppid[:], "rack 8")
		ts.Check(os.WriteFile(ts.MkAbs(name), fmt.Appendf(nil, `{"machineId":"%x","label":"rack 8","jwt":%q}`, ppid, token), 0o644))
	}
	ts.Check(os.WriteFile(ts.MkAbs("poe.cbor"), item.Body, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("root.pem"), item.Chain, 0o644))
	ts.Setenv("ALLIANCE", w.Alliance().Key().String())
	ts.Setenv("OWNERROOT", w.Owner().Policy().SHA256.String())
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s: no example", c.CommandPath())
		}
		if c.Short == "" {
			t.Errorf("%s: no description", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root := newRootCmd()
	walk(root)
	if len(root.Commands()) < 8 {
		t.Error(fmt.Errorf("%d commands", len(root.Commands())))
	}
}

// TestFlagsSayTheirType looks at every flag of every command: what stands in backquotes in a usage
// is taken for the flag's type, and a command in them was shown as one.
func TestFlagsSayTheirType(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for line := range strings.Lines(c.Flags().FlagUsages()) {
			_, flag, _ := strings.Cut(line, "--")
			flag, _, _ = strings.Cut(flag, "   ")
			if words := strings.Fields(flag); len(words) > 2 {
				t.Errorf("%s: --%s has type %q", c.CommandPath(), words[0], words[1:])
			}
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRootCmd())
}

func TestAnUnknownShellIsWrongUsage(t *testing.T) {
	if got := run([]string{"completion", "tcsh"}); got != exitUsage {
		t.Errorf("completion tcsh: status %d, want %d", got, exitUsage)
	}
}

func TestTextHangsUnderItsBeginning(t *testing.T) {
	const label, text = "ok  tee.launch  ", "nobody vouches for it:  neither the provider nor the policy"
	for width, want := range map[int]string{
		0:  label + text,
		45: label + text, // too little room
		48: "ok  tee.launch  nobody vouches for it: neither\n                the provider nor the policy",
		99: label + "nobody vouches for it: neither the provider nor the policy",
	} {
		if got := terminal.Hang(label, text, width); got != want {
			t.Errorf("width %d:\n%s\nwant:\n%s", width, got, want)
		}
	}
	if got := terminal.Hang(label, "", 80); got != strings.TrimSpace(label) {
		t.Errorf("no text: %q", got)
	}
}
