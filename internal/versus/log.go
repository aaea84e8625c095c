package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/others"
	"github.com/poclog/poclog/log"
)

const origin = "bench.example/log"

// logs compares a log with the engine that it is built on: Tessera's own load generator adds leaves
// to Tessera's example for POSIX, and to ours. The generator makes leaves that no log of proofs
// takes, so that an adapter before ours answers each of its posts by a submission made before.
func logs(ctx context.Context, dir string, short bool) (rows []row, stop func(), err error) {
	hammer, err := others.Program(ctx, "tessera-hammer")
	if err != nil {
		return nil, nil, err
	}
	turns, tessera, proofs := 3, 20_000, 2_000
	if short {
		tessera, proofs = 1_000, 100
	}
	alone, tesseraURL, vkey, err := startTessera(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	ours, err := startOurs(dir, turns*(proofs+surplus))
	if err != nil {
		alone.Stop()
		return nil, nil, err
	}
	stop = func() { alone.Stop(); ours.stop() }
	return []row{{
		what: "a leaf added under load, by Tessera's hammer", turns: turns, peerName: others.Module("tessera-posix"),
		ours: func(ctx context.Context) (time.Duration, error) {
			return hammered(ctx, hammer, ours.url, ours.adapter, ours.vkey, proofs)
		},
		peer: func(ctx context.Context) (time.Duration, error) {
			return hammered(ctx, hammer, tesseraURL, tesseraURL, vkey, tessera)
		},
		notThePeers: "ours verifies the four signatures of a quote, has its evidence on disk, and answers with a receipt once the checkpoint is published",
	}}, stop, nil
}

const (
	maxWriters = 256  // leaves that the hammer has under way
	surplus    = 4000 // leaves that it adds before it sees that it has reached its goal, at most
)

var reached = regexp.MustCompile(`Reached tree size goal of \d+ after (\S+);`)

// hammered has the hammer add leaves, and returns how long one took.
func hammered(ctx context.Context, hammer, readURL, writeURL, vkey string, leaves int) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, hammer, "--log_url="+readURL+"/", "--write_log_url="+writeURL+"/", "--log_public_key="+vkey, "--show_ui=false", "--logtostderr",
		"--max_read_ops=0", "--num_readers_random=0", "--num_readers_full=0", "--max_write_ops=100000", "--num_writers="+strconv.Itoa(maxWriters),
		"--dup_chance=0", "--leaf_min_size=3000", "--leaf_write_goal="+strconv.Itoa(leaves), "--max_runtime=5m")
	out, err := cmd.CombinedOutput()
	m := reached.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the hammer did not reach its goal: %w: %.800s", errors.Join(err, ctx.Err()), out)
	}
	took, err := time.ParseDuration(string(m[1]))
	return took / time.Duration(leaves), err
}

func startTessera(ctx context.Context, dir string) (r *others.Running, url, vkey string, err error) {
	path, err := others.Program(ctx, "tessera-posix")
	if err != nil {
		return nil, "", "", err
	}
	skey, vkey := must.Both(note.GenerateKey(rand.Reader, origin))
	home := filepath.Join(dir, "tessera")
	if err := errors.Join(os.Mkdir(home, 0o755), os.WriteFile(filepath.Join(home, "key"), []byte(skey), 0o600)); err != nil {
		return nil, "", "", err
	}
	addr, err := others.FreeAddr()
	if err != nil {
		return nil, "", "", err
	}
	r, err = others.Start(home, addr, path, "--storage_dir="+filepath.Join(home, "log"), "--listen="+addr, "--private_key="+filepath.Join(home, "key"))
	return r, "http://" + addr, vkey, err
}

// ourLog is a log of this project with an adapter before it.
type ourLog struct {
	url, adapter, vkey string
	stop               func()
}

func startOurs(dir string, submissions int) (*ourLog, error) {
	m := chip.NewMaker("bench of peers", time.Now().AddDate(-1, 0, 0))
	bodies := submissionsOf(m, submissions)
	home := filepath.Join(dir, "ours")
	policy := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, TCB: []string{"UpToDate"},
		Admit: []poclog.Admission{{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true}},
		Roots: []poclog.Root{{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(m.Root()), Name: "laboratory"}},
	}
	if err := log.Init(home, log.InitOptions{Origin: origin, Policy: policy}); err != nil {
		return nil, err
	}
	vkey, err := vkeyOf(home)
	if err != nil {
		return nil, err
	}
	svc, err := log.Open(context.Background(), home, log.Config{Software: "poclog bench", UnsafeUnlimited: true, Logger: slog.New(slog.DiscardHandler), CheckpointInterval: time.Second})
	if err != nil {
		return nil, err
	}
	srv := httptest.NewServer(svc.Handler())
	adapter := httptest.NewServer(adapterOf(srv.URL, bodies))
	return &ourLog{url: srv.URL, adapter: adapter.URL, vkey: vkey, stop: func() {
		adapter.Close()
		srv.Close()
		svc.Close(context.Background())
	}}, nil
}

// vkeyOf is the first key in the trust policy that a log has made of itself.
func vkeyOf(home string) (string, error) {
	text, err := os.ReadFile(filepath.Join(home, "policy.txt"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "log" {
			return f[1], nil
		}
	}
	return "", errors.New("policy.txt names no log")
}

// submissionsOf makes distinct bare quotes of one platform.
func submissionsOf(m *chip.Maker, n int) (bodies [][]byte) {
	host := m.NewPlatform("host", nil)
	for i := range n {
		var td chip.TD
		binary.BigEndian.PutUint64(td.ReportData[:], uint64(i))
		b := new(poclog.Bundle)
		b.Set(poclog.ItemTDXQuote, host.Quote(td))
		bodies = append(bodies, must.Get((&poclog.Submission{Bundle: must.Get(b.Marshal())}).Marshal()))
	}
	return bodies
}

// adapterOf answers the hammer's posts as Tessera's example does: by the number of the entry.
func adapterOf(url string, bodies [][]byte) http.Handler {
	var next atomic.Int64
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxWriters}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := next.Add(1) - 1
		if n >= int64(len(bodies)) {
			http.Error(w, "no more submissions were made", http.StatusServiceUnavailable)
			return
		}
		file, err := post(r.Context(), c, url+"/v1/proofs", poclog.SubmissionType, bodies[n], http.StatusCreated)
		var receipt *poclog.Receipt
		if err == nil {
			receipt, err = poclog.ParseReceipt(file)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, receipt.Index)
	})
}
