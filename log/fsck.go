package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A Source is where [Fsck] reads a log: its tiles and its evidence.
type Source struct {
	Tiles    fsck.Fetcher
	Evidence func(ctx context.Context, blob poclog.Blob) ([]byte, error)

	duplicates string       // the database of a folder's known evidence; empty: it is not checked
	listed     func() error // what is wrong with a folder's list of where evidence is; nil: there is none
}

// DirSource reads the log of a directory, wherever it is kept. The log may be running.
func DirSource(ctx context.Context, dir string) (Source, error) {
	st, err := openStore(ctx, dir, folder.Options{})
	if err != nil {
		return Source{}, err
	}
	src := Source{
		Tiles:    store.Reader{Tiles: st.Tiles},
		Evidence: func(ctx context.Context, b poclog.Blob) ([]byte, error) { return st.Evidence.Get(ctx, b.SHA256) },

		duplicates: filepath.Join(dir, dirState, fileDuplicates),
	}
	if list, ok := st.Evidence.(interface{ Damaged() error }); ok {
		src.listed = list.Damaged
	}
	return src, nil
}

// URLSource reads a log over HTTP; evidence fetches what entries name.
func URLSource(prefix string, evidence func(context.Context, poclog.Blob) ([]byte, error)) (Source, error) {
	u, err := url.Parse(prefix)
	if err != nil {
		return Source{}, fmt.Errorf("log URL: %w", err)
	}
	f, err := client.NewHTTPFetcher(u.JoinPath("/"), &http.Client{Transport: bounded{http.DefaultTransport}, Timeout: fetchTimeout})
	if err != nil {
		return Source{}, fmt.Errorf("log URL: %w", err)
	}
	return Source{Tiles: f, Evidence: evidence}, nil
}

// Limits of what is fetched from a log that may be hostile.
const (
	fetchTimeout = 60 * time.Second
	// The largest answer is a full entry bundle: 256 entries of 64 KiB with their lengths.
	maxFetched = 256 * (1<<16 + 2)
)

// bounded is a transport whose answers end with an error beyond maxFetched.
type bounded struct{ http.RoundTripper }

func (t bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > maxFetched {
		return nil, errors.Join(fmt.Errorf("%s: %d bytes: want at most %d", r.URL, resp.ContentLength, maxFetched), resp.Body.Close())
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxFetched)
	return resp, nil
}

// A Finding is something that is wrong with a log.
type Finding struct {
	Entry  uint64 `json:"entry"`
	Detail string `json:"detail"`
}

// A Report is the result of [Fsck]. The log is clean if there are no findings.
type Report struct {
	V          int       `json:"v"`
	Origin     string    `json:"origin"`
	Size       uint64    `json:"size"`
	Proofs     uint64    `json:"proofs"`
	Configs    uint64    `json:"configs"`
	Indexes    uint64    `json:"indexes"`
	Statements uint64    `json:"statements"`
	Unknown    uint64    `json:"unknown"`
	Wrong      uint64    `json:"wrong"`              // findings
	Findings   []Finding `json:"findings,omitempty"` // the first maxFindings of them
}

const maxFindings = 100

// ErrUnread is of a log that showed no checkpoint: nothing can be said of it.
var ErrUnread = errors.New("the log is not to be read")

// Fsck recomputes a whole log: the tree and every tile from the entries, under the checkpoint of a
// log in the policy; and each entry from its evidence, byte for byte. Progress, if set, is called
// with entries done and to do. An error means that the log could not be read or that its tree is
// not what was signed. The index of each index entry is recomputed, in a temporary file.
func Fsck(ctx context.Context, src Source, policy *tlogpolicy.Policy, appraise Appraiser, progress func(done, total uint64)) (*Report, error) {
	signed, err := src.Tiles.ReadCheckpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: checkpoint: %w", ErrUnread, err)
	}
	cp, err := policy.OpenLogged(signed)
	if err != nil {
		return nil, err
	}
	if err := checkTree(ctx, src.Tiles, policy, cp.Origin); err != nil {
		return nil, err
	}
	f := &checker{src: src, appraise: appraise, registrars: new(registry.Registrars), stated: make(map[registry.Line]*registry.History), report: &Report{V: 1, Origin: cp.Origin, Size: cp.Size}}
	closeIndex, err := f.openIndex()
	if err != nil {
		return nil, err
	}
	defer closeIndex()
	if f.known, err = openDuplicates(src.duplicates, cp.Size); err != nil {
		f.find(0, err.Error()+removeDerived)
	}
	defer f.known.close()
	root, err := f.run(ctx, cp.Size, progress)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(root, cp.Root[:]) {
		return nil, fmt.Errorf("tree: the entries that were judged have root %x at size %d: %x was signed", root, cp.Size, cp.Root)
	}
	detail, err := f.known.end(ctx)
	if err != nil {
		return nil, err
	}
	f.find(0, detail)
	if src.listed != nil {
		if err := src.listed(); err != nil {
			f.find(0, err.Error()+removeDerived+". What this check read of the evidence, it found in the segments without it")
		}
	}
	return f.report, nil
}

// removeDerived is what helps against damage in a database that is derived.
const removeDerived = ": remove this file while the log is stopped, and its next start makes it anew"

// checkTree runs Tessera's own check.
func checkTree(ctx context.Context, tiles fsck.Fetcher, policy *tlogpolicy.Policy, origin string) error {
	for _, l := range policy.Logs() {
		v, err := note.NewVerifier(l.VKey)
		if l.Origin != origin || err != nil {
			continue
		}
		hasher := func(bundle []byte) ([][]byte, error) {
			entries, err := unbundle(bundle)
			for i := range entries {
				entries[i] = leafHash(entries[i])
			}
			return entries, err
		}
		if err := fsck.New(origin, v, tiles, hasher, fsck.Opts{N: uint(runtime.GOMAXPROCS(0))}).Check(ctx); err != nil {
			return fmt.Errorf("tree: %w", err)
		}
		return nil
	}
	return fmt.Errorf("the policy has no Ed25519 key of log %q", origin)
}

// A checker recomputes entries.
type checker struct {
	src      Source
	appraise Appraiser
	report   *Report
	policy   poclog.Blob   // in force: that of the newest config entry
	index    *indexmap.Map // of the entries so far; nil once an index entry was wrong

	registrars *registry.Registrars                // of the policy in force
	stated     map[registry.Line]*registry.History // of the entries so far
	known      *duplicatesCheck                    // nil: there is none to check
}

// run reads bundle after bundle, and judges the entries of each concurrently. It returns the root
// of what it judged: a log that is read over the network may have shown other entries before.
func (f *checker) run(ctx context.Context, size uint64, progress func(done, total uint64)) ([]byte, error) {
	tree, err := rangeOf(ctx, 0, f.src.Tiles)
	if err != nil {
		return nil, err
	}
	sized := func(context.Context) (uint64, error) { return size, nil }
	for b, err := range client.EntryBundles(ctx, 4, sized, f.src.Tiles.ReadEntryBundle, 0, size) {
		if err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		entries, err := unbundle(b.Data)
		if err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		first := b.RangeInfo.Index * layout.EntryBundleWidth
		if first != tree.End() || len(entries) == 0 {
			return nil, fmt.Errorf("read entries: a bundle of %d entries from %d: want some from %d", len(entries), first, tree.End())
		}
		// A bundle that was filled since the checkpoint has entries that it does not cover.
		entries = entries[:min(uint64(len(entries)), size-first)]
		for _, e := range entries {
			if err := tree.Append(leafHash(e), nil); err != nil {
				return nil, fmt.Errorf("read entries: %w", err)
			}
		}
		if err := f.bundle(ctx, first, entries); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(tree.End(), size)
		}
		if tree.End() >= size {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return rootOfRange(tree)
}

func (f *checker) bundle(ctx context.Context, first uint64, entries [][]byte) error {
	details := make([]string, len(entries))
	whole := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, leaf := range entries {
		parsed, err := poclog.ParseLeaf(leaf)
		if err == nil {
			detail, err := f.known.entry(whole, first+uint64(i), leaf, parsed)
			if err != nil {
				return errors.Join(err, g.Wait())
			}
			f.find(first+uint64(i), detail)
		}
		switch {
		case err != nil:
			details[i] = err.Error()
		case first == 0 && i == 0 && parsed.Config == nil:
			details[i] = "the first entry is no config entry"
		case parsed.Config != nil:
			f.report.Configs++
			f.policy = parsed.Config.Policy
			details[i] = f.config(ctx)
		case parsed.Index != nil:
			f.report.Indexes++
		case parsed.Statement != nil:
			f.report.Statements++
			details[i] = f.statement(ctx, parsed.Statement)
		case parsed.Proof != nil:
			f.report.Proofs++
			inForce := f.policy
			g.Go(func() error {
				details[i] = f.proof(ctx, leaf, parsed.Proof, inForce)
				return ctx.Err()
			})
		default:
			f.report.Unknown++
		}
	}
	err := errors.Join(g.Wait(), f.follow(whole, first, entries, details))
	for i, d := range details {
		f.find(first+uint64(i), d)
	}
	return err
}

// find reports what is wrong with an entry, unless it is nothing.
func (f *checker) find(entry uint64, detail string) {
	if detail == "" {
		return
	}
	f.report.Wrong++
	if len(f.report.Findings) < maxFindings {
		f.report.Findings = append(f.report.Findings, Finding{Entry: entry, Detail: detail})
	}
}

// openIndex makes the index that entries are held to.
func (f *checker) openIndex() (closeIndex func(), err error) {
	dir, err := os.MkdirTemp("", "poclog-fsck-*")
	if err != nil {
		return nil, err
	}
	if f.index, err = indexmap.Open(filepath.Join(dir, "index.db"), nil); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	opened := f.index
	return func() {
		_ = opened.Close() // it is thrown away
		_ = os.RemoveAll(dir)
	}, nil
}

// follow holds index entries to the entries before them. After a wrong one there is nothing to hold
// later ones to.
func (f *checker) follow(ctx context.Context, first uint64, entries [][]byte, details []string) error {
	if f.index == nil {
		return nil
	}
	err := f.index.Follow(ctx, first, entries)
	if wrong, ok := errors.AsType[*indexmap.WrongError](err); ok {
		f.index = nil
		details[wrong.Entry-first] = wrong.What + "; later index entries were not checked"
		return nil
	}
	return err
}

// config takes the policy that is in force from here on.
func (f *checker) config(ctx context.Context) string {
	f.registrars = new(registry.Registrars)
	file, err := f.fetch(ctx, "policy", f.policy)
	if err != nil {
		return err.Error()
	}
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return err.Error()
	}
	if f.registrars, err = registry.New(p.Registrars); err != nil {
		return err.Error()
	}
	return ""
}

// statement recomputes a statement entry, by those before it, and says what is wrong with it, or
// nothing.
func (f *checker) statement(ctx context.Context, e *poclog.StatementEntry) string {
	s := &e.Envelope.Statement
	h := f.stated[registry.LineOf(s)]
	if h == nil {
		h = new(registry.History)
		f.stated[registry.LineOf(s)] = h
	}
	if err := f.registrars.CheckEntry(e, f.policy, f.report.Origin, h); err != nil {
		return err.Error()
	}
	if _, err := h.Add(s, e.Time); err != nil {
		return err.Error()
	}
	for _, d := range s.Kept() {
		if _, err := f.fetch(ctx, "document", d); err != nil {
			return err.Error()
		}
	}
	return ""
}

func (f *checker) fetch(ctx context.Context, what string, blob poclog.Blob) ([]byte, error) {
	b, err := f.src.Evidence(ctx, blob)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, blob.SHA256, err)
	}
	if poclog.BlobOf(b) != blob {
		return nil, fmt.Errorf("%s %s: the file is another", what, blob.SHA256)
	}
	return b, nil
}

// proof recomputes an entry and says what is wrong with it, or nothing.
func (f *checker) proof(ctx context.Context, leaf []byte, e *poclog.Entry, inForce poclog.Blob) string {
	if e.Evidence.Policy != inForce {
		return fmt.Sprintf("judged by policy %s: policy %s was in force", e.Evidence.Policy.SHA256, inForce.SHA256)
	}
	in := profile.Input{Appraised: e.Appraised, Appraisal: e.Appraisal}
	for _, part := range []struct {
		what string
		blob poclog.Blob
		dst  *[]byte
	}{
		{"bundle", e.Evidence.Bundle, &in.Bundle}, {"envelope", e.Evidence.Envelope, &in.Envelope},
		{"collateral", e.Evidence.Collateral, &in.Collateral}, {"policy", e.Evidence.Policy, &in.Policy},
	} {
		if part.blob == (poclog.Blob{}) {
			continue
		}
		b, err := f.fetch(ctx, part.what, part.blob)
		if err != nil {
			return err.Error()
		}
		*part.dst = b
	}
	a, err := f.appraise(in)
	if err != nil {
		return "its evidence is refused: " + err.Error()
	}
	again, err := a.Entry.Marshal()
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(again, leaf) {
		return "its evidence gives another entry"
	}
	return ""
}
