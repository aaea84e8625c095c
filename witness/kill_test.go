package witness_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
)

// daemonVar names the folder of the witness that a copy of the test binary serves.
const daemonVar = "POCLOG_TEST_WITNESS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(daemonVar); dir != "" {
		if err := daemon(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// daemon serves a witness until it is killed, and prints its address.
func daemon(dir string) error {
	w, err := witness.Open(dir, witness.Config{Rate: rate.Inf})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return w.Serve(context.Background(), l)
}

// startDaemon starts a witness process and returns its URL.
func startDaemon(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonVar+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the witness did not start: %v", err)
	}
	return cmd, "http://" + strings.TrimSpace(addr)
}

// A rival offers one of two histories of a log.
type rival struct {
	key      logKey
	tree     *tree
	size     int64            // where it believes the witness to be
	cosigned map[int64]string // cosignature lines by size
}

// errGone is that the witness was killed before it answered.
var errGone = errors.New("no answer")

// offer asks for one more checkpoint.
func (r *rival) offer(c *http.Client, url string, step int64) error {
	to := min(r.size+step, rivalSize)
	resp, err := c.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(r.tree.request(r.size, to, r.key)))
	if err != nil {
		return errGone
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return errGone
	}
	switch resp.StatusCode {
	case http.StatusOK:
		r.cosigned[to] = string(body)
		r.size = to
	case http.StatusConflict:
		if r.size, err = strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64); err != nil {
			return err
		}
	case http.StatusUnprocessableEntity: // the other history is on record
	default:
		return fmt.Errorf("status %d, %q", resp.StatusCode, body)
	}
	return nil
}

const rivalSize = 5000

// TestKilledWitnessNeverContradictsItself has two histories of each of many logs offered to two
// witness processes on one folder, which are killed and started again at any moment, and then looks
// at everything that was cosigned.
func TestKilledWitnessNeverContradictsItself(t *testing.T) {
	const logs, rounds = 24, 24
	w, dir := open(t, witness.Config{Rate: rate.Inf})
	vkeys := w.VKeys()
	one, other := newTree(t, "one", rivalSize), newTree(t, "other", rivalSize)
	var rivals []*rival
	for i := range logs {
		key := ed25519Key(t, fmt.Sprintf("example.com/log%d", i))
		if err := w.AddLog(t.Context(), key.vkey); err != nil {
			t.Fatal(err)
		}
		for _, tr := range []*tree{one, other} {
			rivals = append(rivals, &rival{key: key, tree: tr, cosigned: make(map[int64]string)})
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		// Each round begins the contest for some logs and goes on with the others.
		killRound(t, dir, rivals[:2*logs*(round+1)/rounds])
	}
	w = reopen(t, dir, witness.Config{})
	records, err := w.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cosignatures, oneWon := 0, 0
	for i := 0; i < len(rivals); i += 2 {
		a, b := rivals[i], rivals[i+1]
		if len(a.cosigned) > 0 && len(b.cosigned) > 0 {
			t.Errorf("%s: two histories were cosigned, %d and %d checkpoints", a.key.Name(), len(a.cosigned), len(b.cosigned))
		}
		if len(a.cosigned) > 0 {
			oneWon++
		}
		for _, r := range []*rival{a, b} {
			cosignatures += len(r.cosigned)
			checkRival(t, r, vkeys, records)
		}
	}
	t.Logf("%d kills, %d checkpoints cosigned of %d logs, the first history won %d", rounds*2, cosignatures, logs, oneWon)
	if cosignatures < 5*logs {
		t.Errorf("%d checkpoints were cosigned: too few to show anything", cosignatures)
	}
}

// killRound starts two processes, lets the rivals contend, and kills both while they do.
func killRound(t *testing.T, dir string, rivals []*rival) {
	t.Helper()
	first, firstURL := startDaemon(t, dir)
	second, secondURL := startDaemon(t, dir)
	stop := make(chan struct{})
	var cosigned atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(rivals)}, Timeout: 10 * time.Second}
	var wg sync.WaitGroup
	for i, r := range rivals {
		wg.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				url := firstURL
				if n%2 == 1 {
					url = secondURL
				}
				had := len(r.cosigned)
				if err := r.offer(client, url, 1+int64(n%3)); err != nil && !errors.Is(err, errGone) {
					t.Errorf("%s: %v", r.key.Name(), err)
					return
				}
				if len(r.cosigned) > had {
					cosigned.Add(1)
				}
			}
		})
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		// A slow machine gets the time to answer something; then the moment is random.
		before, patience := cosigned.Load(), time.Now().Add(5*time.Second)
		for cosigned.Load() < before+8 && time.Now().Before(patience) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Wait()
	}
	close(stop)
	wg.Wait()
	client.CloseIdleConnections()
}

// checkRival checks that each cosignature verifies, and that the witness remembers at least the
// largest of them.
func checkRival(t *testing.T, r *rival, vkeys []string, records []witness.Log) {
	t.Helper()
	var largest int64
	for size, lines := range r.cosigned {
		n, err := note.Open([]byte(r.tree.text(r.key.Name(), size)+"\n"+lines), note.VerifierList(verifiers(t, vkeys)...))
		if err != nil || len(n.Sigs) != len(vkeys) {
			t.Errorf("%s: size %d: the cosignatures do not verify: %v", r.key.Name(), size, err)
		}
		largest = max(largest, size)
	}
	for _, rec := range records {
		if rec.Origin == r.key.Name() && int64(rec.Size) < largest {
			t.Errorf("%s: size %d was cosigned and %d is on record", r.key.Name(), largest, rec.Size)
		}
	}
}
