// Package peers starts what a log of the store mysqls3 needs, for tests: MariaDB, and an S3 server
// (versitygw) over HTTP. Both are real, and keep nothing: each is given a folder of its own.
//
// versitygw does not sync its files: it is a peer for tests, no durable storage.
package peers

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/cputime"
)

// EnvVersitygw names the S3 server's program, which `make store-test` builds.
const EnvVersitygw = "POCLOG_VERSITYGW"

// Credentials of the S3 server.
const (
	AccessKey = "poclog-test"
	SecretKey = "poclog-test-secret"
	Region    = "us-east-1"
)

// A Database is a MariaDB server.
type Database struct {
	Address string // host:port
	dir     string
	port    int
	cmd     *exec.Cmd
}

// User and Password are those of a user who may make databases.
const (
	User     = "poclog"
	Password = "poclog-test-password"
)

// NewDatabase starts a server, or skips the test where there is none. It ends with the test.
func NewDatabase(t testing.TB) *Database {
	t.Helper()
	program, err := exec.LookPath("mariadbd")
	if err != nil {
		if program = "/usr/sbin/mariadbd"; !exists(program) {
			t.Skip("skipped: MariaDB is not installed; on Debian: apt-get install mariadb-server")
		}
	}
	d := &Database{dir: folder(t), port: freePort(t)}
	d.Address = "127.0.0.1:" + strconv.Itoa(d.port)
	make := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+filepath.Join(d.dir, "data"), "--auth-root-authentication-method=normal", "--skip-test-db")
	make.Env = d.environ()
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make a database: %v: %s", err, out)
	}
	d.Start(t, program)
	t.Cleanup(d.Kill)
	d.SQL(t, "CREATE USER '"+User+"'@'%' IDENTIFIED BY '"+Password+"'; GRANT ALL ON *.* TO '"+User+"'@'%'; CREATE USER '"+User+"'@'localhost' IDENTIFIED BY '"+Password+
		"'; GRANT ALL ON *.* TO '"+User+"'@'localhost'")
	out, _ := exec.Command(program, "--version").Output()
	t.Logf("database: %s", strings.TrimSpace(string(out)))
	return d
}

// Available reports whether the servers are here.
func Available() bool {
	_, err := exec.LookPath("mariadbd")
	return os.Getenv(EnvVersitygw) != "" && (err == nil || exists("/usr/sbin/mariadbd"))
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// folder is short: the path of a socket has at most 107 bytes.
func folder(t testing.TB) string {
	dir, err := os.MkdirTemp("", "peer")
	ok(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// environ gives a server a folder of its own for what is temporary: one that starts removes what others
// have in theirs.
func (d *Database) environ() []string { return append(os.Environ(), "TMPDIR="+d.dir) }

func (d *Database) socket() string { return filepath.Join(d.dir, "s") }

// Start starts the server with the same data, and waits until it answers.
func (d *Database) Start(t testing.TB, program string, more ...string) {
	t.Helper()
	args := append([]string{"--no-defaults", "--user=root", "--datadir=" + filepath.Join(d.dir, "data"), "--socket=" + d.socket(), "--port=" + strconv.Itoa(d.port),
		"--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M", "--log-error=" + filepath.Join(d.dir, "log"), "--skip-name-resolve"}, more...)
	cmd := exec.Command(program, args...)
	cmd.Env = d.environ()
	ok(t, cmd.Start())
	d.cmd = cmd
	for range 600 {
		if exec.Command("mariadb-admin", "--no-defaults", "--socket="+d.socket(), "-u", "root", "ping").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	t.Fatalf("the database does not answer: %s", text)
}

// Restart starts the server that was stopped or killed.
func (d *Database) Restart(t testing.TB, more ...string) {
	t.Helper()
	d.Start(t, d.cmd.Path, more...)
}

// Stop asks the server to end, and waits.
func (d *Database) Stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
}

// Kill ends the server at once.
func (d *Database) Kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// Used is the processor time that the server has taken.
func (d *Database) Used(t testing.TB) time.Duration { return used(t, d.cmd) }

// Used is the processor time that the server has taken.
func (s *S3) Used(t testing.TB) time.Duration { return used(t, s.cmd) }

func used(t testing.TB, c *exec.Cmd) time.Duration {
	t.Helper()
	used, err := cputime.OfProcess(c.Process.Pid)
	ok(t, err)
	return used
}

// SQL has the server's root run statements, and returns what they print.
func (d *Database) SQL(t testing.TB, statements string) string {
	t.Helper()
	out, err := exec.Command("mariadb", "--no-defaults", "--socket="+d.socket(), "-u", "root", "-N", "-B", "-e", statements).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", statements, err, out)
	}
	return string(out)
}

// Dump returns a backup of a schema.
func (d *Database) Dump(t testing.TB, schema string) string {
	t.Helper()
	out, err := exec.Command("mariadb-dump", "--no-defaults", "--socket="+d.socket(), "-u", "root", "--single-transaction", schema).Output()
	if err != nil {
		t.Fatalf("dump %s: %v", schema, err)
	}
	return string(out)
}

// Restore puts a backup back.
func (d *Database) Restore(t testing.TB, schema, dump string) {
	t.Helper()
	c := exec.Command("mariadb", "--no-defaults", "--socket="+d.socket(), "-u", "root", schema)
	c.Stdin = strings.NewReader(dump)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("restore %s: %v: %s", schema, err, out)
	}
}

// An S3 is an S3 server.
type S3 struct {
	URL string
	dir string
	cmd *exec.Cmd
}

// NewS3 starts a server, or skips the test where there is none. It ends with the test.
func NewS3(t testing.TB) *S3 {
	t.Helper()
	program := os.Getenv(EnvVersitygw)
	if program == "" {
		t.Skipf("skipped: no S3 server: %s is not set; make store-test builds one", EnvVersitygw)
	}
	s := &S3{dir: folder(t)}
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	s.URL = "http://" + address
	s.cmd = exec.Command(program, "--port", address, "--access", AccessKey, "--secret", SecretKey, "--region", Region, "--quiet", "--keep-alive", "posix", s.dir)
	ok(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	// The same for every test, so that tests may run at one time.
	_ = os.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	_ = os.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	for range 300 {
		if resp, err := http.Get(s.URL); err == nil {
			resp.Body.Close()
			out, _ := exec.Command(program, "--version").Output()
			t.Logf("S3: %s", strings.Join(strings.Fields(string(out)), " "))
			return s
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the S3 server does not answer")
	return nil
}

// Bucket makes a bucket.
func (s *S3) Bucket(t testing.TB, name string) {
	t.Helper()
	ok(t, os.Mkdir(s.Path(name), 0o755))
}

// Rename gives a bucket another name.
func (s *S3) Rename(t testing.TB, from, to string) {
	t.Helper()
	ok(t, os.Rename(s.Path(from), s.Path(to)))
}

// Path is where the server keeps an object, or those below a part of a key.
func (s *S3) Path(parts ...string) string { return filepath.Join(append([]string{s.dir}, parts...)...) }

// Object reads an object past the server.
func (s *S3) Object(bucket, key string) ([]byte, error) {
	return os.ReadFile(s.Path(bucket, filepath.FromSlash(key)))
}

// Damage writes other bytes into an object, as a disk that fails might.
func (s *S3) Damage(t testing.TB, bucket, key string, b []byte) {
	t.Helper()
	ok(t, os.WriteFile(s.Path(bucket, filepath.FromSlash(key)), b, 0o644))
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
