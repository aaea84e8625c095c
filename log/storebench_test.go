package log_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/transparency-dev/tessera"
	driver "github.com/transparency-dev/tessera/storage/aws"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// How the sides of BenchmarkFrontEnds are loaded.
const (
	benchSubmitters = 2000 // in all; Tessera pushes back where 4,096 leaves wait
	benchBatch      = 256  // as the log has it
	benchBatchAge   = 50 * time.Millisecond
)

// benchNumber is a number from the environment, or a default.
func benchNumber(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// benchStores are the servers that all sides of a run share.
type benchStores struct {
	db   *peers.Database
	s3   *peers.S3
	logs int // that were made in them
}

func newBenchStores(b *testing.B) *benchStores {
	b.Helper()
	b.Setenv(mysqls3.EnvPassword, peers.Password)
	return &benchStores{s3: peers.NewS3(b), db: peers.NewDatabase(b)}
}

// config makes a schema and buckets, and says how they are reached: by the S3 server's URL, or by
// another one before it.
func (s *benchStores) config(b *testing.B, url string) *mysqls3.Config {
	b.Helper()
	s.logs++
	name := fmt.Sprintf("log%d", s.logs)
	s.db.SQL(b, "CREATE DATABASE "+name)
	s.s3.Bucket(b, name+"-tiles")
	s.s3.Bucket(b, name+"-guard")
	return &mysqls3.Config{
		Kind: mysqls3.Kind, Database: mysqls3.Database{Address: s.db.Address, Name: name, User: peers.User},
		Tiles: mysqls3.Bucket{Endpoint: url, Region: peers.Region, Name: name + "-tiles"}, Guard: mysqls3.Bucket{Endpoint: url, Region: peers.Region, Name: name + "-guard"},
	}
}

// usage is processor time: of this process, of the database, and of the S3 server.
type usage [3]time.Duration

func (u usage) sum() time.Duration { return u[0] + u[1] + u[2] }

// since is what was used since a usage, for each of n.
func (u usage) since(before usage, n int) usage {
	for i := range u {
		u[i] = (u[i] - before[i]) / time.Duration(n)
	}
	return u
}

func (s *benchStores) used(b *testing.B) usage {
	b.Helper()
	return usage{cputime.Used(b), s.db.Used(b), s.s3.Used(b)}
}

// fronts are front ends of one log, in this process.
type fronts struct {
	urls []string
	svcs []*log.Service
	stop []func()
}

// serveFronts starts front ends of a new log. Without appraisal, what a bundle says is taken from a
// form: everything else is as it is.
func serveFronts(b *testing.B, f *fab, c *mysqls3.Config, n int, appraised bool, change func(dir string)) *fronts {
	b.Helper()
	home := b.TempDir()
	first := filepath.Join(home, "front-0")
	if err := log.Init(first, log.InitOptions{Origin: origin, Policy: f.policy(), Store: c}); err != nil {
		b.Fatal(err)
	}
	if change != nil {
		change(first)
	}
	l := new(fronts)
	for i := range n {
		dir := filepath.Join(home, fmt.Sprintf("front-%d", i))
		if i > 0 {
			copyFront(b, first, dir)
		}
		cfg := log.Config{Software: "poclog test", UnsafeUnlimited: true, Logger: slog.New(slog.DiscardHandler), PublishTimeout: 10 * time.Minute}
		if !appraised {
			cfg.Appraise = unappraised(b, f)
			cfg.SecondOpinion = func(*poclog.Bundle, time.Time) error { return nil }
		}
		svc, err := log.Open(context.Background(), dir, cfg)
		if err != nil {
			b.Fatal(err)
		}
		srv := httptest.NewServer(svc.Handler())
		l.urls, l.svcs = append(l.urls, srv.URL), append(l.svcs, svc)
		l.stop = append(l.stop, func() {
			srv.Close()
			if err := svc.Close(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
	return l
}

func copyFront(b testing.TB, from, to string) {
	b.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		b.Fatal(err)
	}
	for _, key := range []string{"ed25519.key", "mldsa44.key"} {
		if err := os.Chmod(filepath.Join(to, "keys", key), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

func (l *fronts) close() {
	for _, stop := range l.stop {
		stop()
	}
}

// unappraised takes the entry of one bundle as the form of all.
func unappraised(b *testing.B, f *fab) log.Appraiser {
	b.Helper()
	policy, err := f.policy().Marshal()
	if err != nil {
		b.Fatal(err)
	}
	form, err := profile.AppraiseAt(profile.Input{Bundle: f.submission(b, 1<<40).Bundle, Policy: policy, Appraised: poclog.UnixTime(time.Now().Unix()), Appraisal: poclog.Appraisal}, time.Time{}, profile.Appraise)
	if err != nil {
		b.Fatal(err)
	}
	return func(in profile.Input) (*verify.Appraisal, error) {
		a := *form
		a.Entry.Evidence.Bundle, a.Entry.Appraised = poclog.BlobOf(in.Bundle), in.Appraised
		a.Entry.Quote = poclog.Identity("quote:" + a.Entry.Evidence.Bundle.SHA256.String())
		return &a, nil
	}
}

// submit posts bodies to the front ends from as many submitters, and waits for all receipts. What is
// refused for the moment is sent again, and counted.
func (l *fronts) submit(b *testing.B, bodies [][]byte, submitters int) {
	b.Helper()
	l.send(b, bodies, submitters, poster(http.StatusCreated))
}

// again posts what is in the log.
func (l *fronts) again(b *testing.B, bodies [][]byte, submitters int) {
	b.Helper()
	l.send(b, bodies, submitters, poster(http.StatusOK))
}

func (l *fronts) send(b *testing.B, bodies [][]byte, submitters int, post func(url string, body []byte) error) {
	b.Helper()
	var next, failed, again atomic.Int64
	var wg sync.WaitGroup
	for i := range submitters {
		wg.Go(func() {
			url := l.urls[i%len(l.urls)] + "/v1/proofs"
			for {
				n := next.Add(1) - 1
				if n >= int64(len(bodies)) {
					return
				}
				err := post(url, bodies[n])
				for ; err != nil && strings.HasPrefix(err.Error(), "503 "); err = post(url, bodies[n]) {
					if again.Add(1) == 1 {
						b.Logf("sent again: %v", err)
					}
					time.Sleep(benchBatchAge)
				}
				if err != nil && failed.Add(1) < 5 {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := again.Load(); n > 0 {
		b.Logf("%d times a submission was sent again", n)
	}
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d of %d submissions failed", n, len(bodies))
	}
}

// addToTessera adds leaves to Tessera's AWS driver alone, from as many submitters: one PUT each,
// the leaf, and a published checkpoint that covers it.
func addToTessera(b *testing.B, c *mysqls3.Config, objects [][]byte, leaf, submitters int, begin func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sdk, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.Tiles.Region))
	if err != nil {
		b.Fatal(err)
	}
	sdk.RequestChecksumCalculation, sdk.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenRequired, aws.ResponseChecksumValidationWhenRequired
	pathStyle := func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String(c.Tiles.Endpoint), true }
	d, err := driver.New(ctx, driver.Config{
		SDKConfig: &sdk, S3Options: pathStyle, Bucket: c.Tiles.Name, MaxOpenConns: 32, MaxIdleConns: 16,
		DSN: fmt.Sprintf("%s:%s@tcp(%s)/%s", peers.User, peers.Password, c.Database.Address, c.Database.Name),
	})
	if err != nil {
		b.Fatal(err)
	}
	skey, _, err := note.GenerateKey(nil, origin)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, d, tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(time.Second).WithBatching(benchBatch, benchBatchAge))
	if err != nil {
		b.Fatal(err)
	}
	client, awaiter := s3.NewFromConfig(sdk, pathStyle), tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 200*time.Millisecond)
	begin()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(len(objects)) {
					return
				}
				body := objects[n]
				_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(c.Tiles.Name), Key: aws.String("evidence/" + poclog.Sum(body).String()), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*")})
				if err == nil {
					_, _, err = awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(body[:leaf])))
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := shutdown(ctx); err != nil {
		b.Error(err)
	}
}

// submissions are distinct bundles with the bodies that submit them.
func submissions(b *testing.B, f *fab, from, n int) (bundles, bodies [][]byte) {
	b.Helper()
	for i := range n {
		sub := f.submission(b, uint64(from+i))
		body, err := sub.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		bundles, bodies = append(bundles, sub.Bundle), append(bodies, body)
	}
	return bundles, bodies
}

// leafBytes is the size of the entry of a bare quote, about.
const leafBytes = 950

// BenchmarkFrontEnds compares front ends on MariaDB and an S3 server with Tessera's AWS driver alone
// on the same servers, which keeps one object for each leaf. The sides take turns, as many as
// -benchtime says (3x), each with a new log, POCLOG_ENTRIES submissions and POCLOG_SUBMITTERS that
// wait for receipts at a time. It prints the medians: receipts a second, and the processor time of
// one, which is that of front ends, submitters and both servers.
func BenchmarkFrontEnds(b *testing.B) {
	stores := newBenchStores(b)
	f := newFab()
	bundles, bodies := submissions(b, f, 0, benchNumber("POCLOG_ENTRIES", 6000))
	submitters := benchNumber("POCLOG_SUBMITTERS", benchSubmitters)
	ours := func(n int, appraised bool) func(func()) {
		return func(begin func()) {
			l := serveFronts(b, f, stores.config(b, stores.s3.URL), n, appraised, nil)
			defer l.close()
			begin()
			l.submit(b, bodies, submitters)
		}
	}
	sides := []struct {
		name string
		run  func(begin func())
		took []time.Duration
		cpu  []usage
	}{
		{name: "Tessera's driver, one PUT an entry", run: func(begin func()) {
			addToTessera(b, stores.config(b, stores.s3.URL), bundles, leafBytes, submitters, begin)
		}},
		{name: "one front end without appraisal", run: ours(1, false)},
		{name: "two front ends without appraisal", run: ours(2, false)},
		{name: "one front end", run: ours(1, true)},
		{name: "two front ends", run: ours(2, true)},
	}
	only := os.Getenv("POCLOG_SIDE") // a part of a side's name
	for b.Loop() {
		for i := range sides {
			s := &sides[i]
			if !strings.Contains(s.name, only) {
				continue
			}
			var begun time.Time
			var cpu usage
			s.run(func() { begun, cpu = time.Now(), stores.used(b) })
			s.took, s.cpu = append(s.took, time.Since(begun)/time.Duration(len(bodies))), append(s.cpu, stores.used(b).since(cpu, len(bodies)))
		}
	}
	b.ReportMetric(0, "ns/op")
	var table strings.Builder
	fmt.Fprintf(&table, "%d submissions, medians of %d turns\n| side | receipts a second | share | processor time of one | share | of which the process, MariaDB, S3 server |\n", len(bodies), b.N)
	var floor usage
	for i, s := range sides {
		if len(s.took) == 0 {
			continue
		}
		slices.Sort(s.took)
		slices.SortFunc(s.cpu, func(x, y usage) int { return cmp.Compare(x.sum(), y.sum()) })
		took, cpu := s.took[len(s.took)/2], s.cpu[len(s.cpu)/2]
		if i == 0 {
			floor = cpu
		}
		fmt.Fprintf(&table, "| %s | %.0f | %.0f %% | %s | %.0f %% | %s |\n", s.name, float64(time.Second)/float64(took), share(sides[0].took, took), cpu.sum().Round(time.Microsecond), 100*float64(floor.sum())/float64(cpu.sum()), fmt.Sprint(cpu))
	}
	b.Log(table.String())
}

// share is how many per cent of the first side's rate another has, in whose sorted times the middle
// is the median.
func share(floor []time.Duration, took time.Duration) float64 {
	if len(floor) == 0 {
		return 0
	}
	return 100 * float64(floor[len(floor)/2]) / float64(took)
}
