package log_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/mysqls3"
)

// BenchmarkStart is how long a log of many entries takes to start, until it admits. POCLOG_ENTRIES
// says how many: four of each chip. They are made once, past admission. It is also said how long
// that took beside Tessera, what is in memory, and what on disk for each entry. "anew" is a start
// without what is derived.
func BenchmarkStart(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("POCLOG_ENTRIES"))
	if err != nil {
		n = 20_000
	}
	dir := newFab().initLog(b)
	cfg := log.Config{Software: "poclog test", Logger: slog.New(slog.DiscardHandler), CheckpointInterval: time.Second, UnsafeUnlimited: true}
	begun := time.Now()
	fill(b, dir, cfg, n)
	b.Logf("%d entries made in %s; POCLOG_ENTRIES=1000000 for a million", n, time.Since(begun).Round(time.Second))
	b.Run("as-it-was", func(b *testing.B) {
		start(b, dir, cfg)
		for what, path := range map[string]string{"index": "state/index.db", "known": "state/duplicates.db", "tiles": "tiles"} {
			b.ReportMetric(float64(diskOf(b, filepath.Join(dir, path)))/float64(n), what+"-B/entry")
		}
	})
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := os.Remove(filepath.Join(dir, "state", "duplicates.db")); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			startOnce(b, dir, cfg)
		}
	})
}

// BenchmarkFrontEndStart is how long a front end on MariaDB and an S3 server takes to start, until it
// admits, on a log of POCLOG_ENTRIES that other front ends served before. The log is written into
// bucket and tables. "first" is the start of the first front end, which reads all entries for the list
// of known evidence, and stands for one on an empty list.
func BenchmarkFrontEndStart(b *testing.B) {
	n := benchNumber("POCLOG_ENTRIES", 20_000)
	stores, f := newBenchStores(b), newFab()
	c := stores.config(b, stores.s3.URL)
	dir := filepath.Join(b.TempDir(), "front")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: f.policy(), Store: c}); err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	writeLog(b, dir, c, n)
	b.Logf("%d entries written in %s; POCLOG_ENTRIES=1000000 for a million", n, time.Since(begun).Round(time.Second))
	cfg := log.Config{Software: "poclog test", Logger: slog.New(slog.DiscardHandler), UnsafeUnlimited: true}
	begun = time.Now()
	svc, err := log.Open(b.Context(), dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	for !svc.Admits() {
		wait(b)
	}
	b.Logf("first start, with an empty list of known evidence: %s", time.Since(begun).Round(100*time.Millisecond))
	for !svc.Derived(b.Context()) {
		wait(b)
	}
	b.Logf("index derived after %s", time.Since(begun).Round(time.Second))
	stores.db.SQL(b, "ANALYZE TABLE "+c.Database.Name+".PoclogKnown")
	b.Logf("bytes in tables: %s", stores.db.SQL(b, "SELECT table_name, data_length + index_length FROM information_schema.tables WHERE table_schema = '"+c.Database.Name+"' AND data_length > 100000"))
	if err := svc.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	start(b, dir, cfg)
}

// writeLog writes a log's entries into a new store, with their tiles, and signs them.
func writeLog(b *testing.B, dir string, c *mysqls3.Config, n int) {
	b.Helper()
	target, err := mysqls3.OpenTarget(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer target.Close()
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(16)
	put := func(path string, body []byte) {
		g.Go(func() error { return target.PutTile(ctx, path, body) })
	}
	var rows [8][]byte // of each level, the last tile's hashes
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	var bundle []byte
	for i := range n {
		leaf := proofLeaf(b, i, n/4)
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaf))), leaf...)
		if i%layout.EntryBundleWidth == layout.EntryBundleWidth-1 {
			put(layout.EntriesPath(uint64(i/layout.EntryBundleWidth), 0), bundle)
			bundle = nil
		}
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf), func(id compact.NodeID, h []byte) {
			level := id.Level / layout.TileHeight
			if id.Level%layout.TileHeight > 0 {
				return
			}
			rows[level] = append(rows[level], h...)
			if id.Index%layout.TileWidth == layout.TileWidth-1 {
				put(layout.TilePath(uint64(level), id.Index/layout.TileWidth, 0), rows[level])
				rows[level] = nil
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	last := uint64(n) / layout.EntryBundleWidth
	if len(bundle) > 0 {
		put(layout.EntriesPath(last, uint8(n%layout.EntryBundleWidth)), bundle)
	}
	for level, row := range rows {
		if len(row) > 0 {
			put(layout.TilePath(uint64(level), uint64(n)>>(layout.TileHeight*(level+1)), uint8(len(row)/sha256.Size)), row)
		}
	}
	root, err := tree.GetRootHash(nil)
	if err = errors.Join(err, g.Wait()); err != nil {
		b.Fatal(err)
	}
	sign(b, dir, target, store.TreeState{Size: uint64(n), Root: root})
}

// sign has the guard hold a tree, and publishes it.
func sign(b *testing.B, dir string, target *mysqls3.Target, state store.TreeState) {
	b.Helper()
	key, err := os.ReadFile(filepath.Join(dir, "keys", "ed25519.key"))
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(key)))
	if err != nil {
		b.Fatal(err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, state.Size, base64.StdEncoding.EncodeToString(state.Root))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		b.Fatal(err)
	}
	_, version, err := target.Guard.Load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(target.Guard.Swap(b.Context(), version, []byte(text)), target.Adopt(b.Context(), state), target.Publish(b.Context(), signed)); err != nil {
		b.Fatal(err)
	}
}

// fill makes a log's entries, and waits for what is derived from them.
func fill(b *testing.B, dir string, cfg log.Config, n int) {
	b.Helper()
	svc, err := log.Open(b.Context(), dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 8192
	for from := 0; from < n; from += batch {
		var leaves [][]byte
		for i := from; i < min(n, from+batch); i++ {
			leaves = append(leaves, proofLeaf(b, i, n/4))
		}
		if err := svc.Fill(b.Context(), leaves); err != nil {
			b.Fatal(err)
		}
	}
	for !svc.Derived(b.Context()) {
		wait(b)
	}
	if err := svc.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// proofLeaf is the i-th entry of a log, whose chips come round again.
func proofLeaf(b *testing.B, i, chips int) []byte {
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.TDX, Realm: poclog.Lab, Chassis: []poclog.Identity{poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", 1+i%max(chips, 1)))},
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "quote %d", i)).String()), CVM: poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48), FMSPC: make([]byte, 6), PCEID: make([]byte, 2)},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf(fmt.Appendf(nil, "bundle %d", i)), Policy: poclog.BlobOf([]byte("p"))}, Appraised: poclog.UnixTime(1_800_000_000 + int64(i)),
	}
	leaf, err := e.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return leaf
}

func start(b *testing.B, dir string, cfg log.Config) {
	for b.Loop() {
		startOnce(b, dir, cfg)
	}
}

// startOnce starts a log until it admits, and closes it. The time to close is not counted.
func startOnce(b *testing.B, dir string, cfg log.Config) {
	svc, err := log.Open(b.Context(), dir, cfg)
	if err != nil {
		b.Fatal(err)
	}
	for !svc.Admits() {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	for !svc.Derived(b.Context()) {
		wait(b)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MB")
	if err := svc.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func diskOf(b *testing.B, path string) (total int64) {
	b.Helper()
	if err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return total
}
