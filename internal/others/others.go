// Package others builds and starts programs of other projects, unchanged: tests run ours against
// them, and benches beside them. None of their code is in this repository; the Go module proxy and
// its checksum database say what each version is.
package others

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	_ "modernc.org/sqlite" // litewitness keeps its logs in an SQLite database
)

// modules are the programs, each with its version.
var modules = map[string]string{
	"litewitness":    "filippo.io/torchwood/cmd/litewitness@v0.9.0",
	"omniwitness":    "github.com/transparency-dev/witness/cmd/omniwitness@v0.0.0-20260720115447-2e1c6971d19e",
	"tessera-posix":  "github.com/transparency-dev/tessera/cmd/conformance/posix@v1.0.4",
	"tessera-hammer": "github.com/transparency-dev/tessera/internal/hammer@v1.0.4",
}

// Module returns a program's module and version.
func Module(name string) string { return modules[name] }

// Program finds a program in PATH, or builds it from its module, once for each version. The error
// says what is missing here.
func Program(ctx context.Context, name string) (path string, err error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%s is not in PATH, and there is no folder to build it in: %w", name, err)
	}
	module, version, _ := strings.Cut(modules[name], "@")
	bin := filepath.Join(cache, "poclog-test-programs", version)
	path = filepath.Join(bin, filepath.Base(module))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	install := exec.CommandContext(ctx, "go", "install", modules[name])
	install.Dir, install.Env = os.TempDir(), append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s is not in PATH and cannot be built here: %w: %.300s", name, err, out)
	}
	return path, nil
}

// A Running is a program that listens.
type Running struct {
	log *os.File
	cmd *exec.Cmd
}

// Start runs a program in a folder and waits until it listens on an address.
func Start(dir, addr, path string, args ...string) (*Running, error) {
	out, err := os.CreateTemp(dir, "log")
	if err != nil {
		return nil, err
	}
	r := &Running{log: out, cmd: exec.Command(path, args...)}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = dir, out, out
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			return r, conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.Stop()
	return nil, fmt.Errorf("%s does not listen on %s: %.800s", path, addr, r.Said())
}

// Stop kills the program and waits for its end.
func (r *Running) Stop() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
	r.log.Close()
}

// Said is what the program wrote.
func (r *Running) Said() string {
	b, err := os.ReadFile(r.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// FreeAddr returns a loopback address that nobody listens on.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// A LogKey is a log that a witness is to know: its origin and its verifier key (C2SP signed-note).
type LogKey struct{ Origin, VKey string }

// Litewitness starts litewitness in a folder, for logs of the keys. It returns its URL and its
// verifier key.
func Litewitness(ctx context.Context, dir string, keys ...LogKey) (r *Running, at, vkey string, err error) {
	path, err := Program(ctx, "litewitness")
	if err != nil {
		return nil, "", "", err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", "", err
	}
	sshKey, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, "", "", err
	}
	socket, err := ServeAgent(ctx, key)
	if err != nil {
		return nil, "", "", err
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, "", "", err
	}
	const name = "litewitness.example/w"
	db := filepath.Join(dir, "litewitness.db")
	if r, err = Start(dir, addr, path, "-ssh-agent", socket, "-key", ssh.FingerprintSHA256(sshKey), "-name", name, "-db", db, "-listen", addr); err != nil {
		return nil, "", "", err
	}
	v, err := torchwood.NewCosignatureVerifierFromKey(name, public)
	if err == nil {
		err = addLogs(ctx, db, keys)
	}
	if err != nil {
		r.Stop()
		return nil, "", "", err
	}
	return r, "http://" + addr, v.String(), nil
}

// addLogs does what witnessctl add-log does.
func addLogs(ctx context.Context, db string, keys []LogKey) error {
	conn, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: db}).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	empty := sha256.Sum256(nil)
	for _, k := range keys {
		if _, err := conn.ExecContext(ctx, "INSERT OR IGNORE INTO log VALUES (?, 0, ?)", k.Origin, base64.StdEncoding.EncodeToString(empty[:])); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO key VALUES (?, ?)", k.Origin, k.VKey); err != nil {
			return err
		}
	}
	return nil
}

// ServeAgent serves an ssh-agent that holds one key until the context ends, and returns its socket.
func ServeAgent(ctx context.Context, key ed25519.PrivateKey) (string, error) {
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "agent") // a folder of tests may be too long for a socket
	if err != nil {
		return "", err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { l.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { agent.ServeAgent(ring, conn); conn.Close() }()
		}
	}()
	return l.Addr().String(), nil
}
