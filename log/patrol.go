package log

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/pause"
)

// Times of the patrol.
const (
	patrolPause = 20 * time.Millisecond // between two bundles of entries
	patrolRest  = time.Hour             // between two rounds
	maxMissing  = 16                    // digests that /health names
)

// losses are files that entries name and the store has not.
type losses struct {
	mu sync.Mutex // guards m
	m  map[poclog.Digest]string
}

func newLosses() *losses { return &losses{m: make(map[poclog.Digest]string)} }

// note notes whether a file is lost, with what it is.
func (l *losses) note(d poclog.Digest, what string, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost {
		l.m[d] = what
	} else {
		delete(l.m, d)
	}
}

func (l *losses) has(d poclog.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.m[d]
	return ok
}

// list returns how many files are lost, and the first of them.
func (l *losses) list() (n int, some []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d, what := range l.m {
		some = append(some, what+" "+d.String())
	}
	slices.Sort(some)
	return len(l.m), some[:min(len(some), maxMissing)]
}

// patrol looks, round after round, whether the store has the files that entries name. It reads no
// file: damage shows when one is read.
func (s *Service) patrol(ctx context.Context) {
	for {
		err := s.patrolOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.cfg.Logger.Warn("the evidence was not looked through", "error", err)
		}
		if n, some := s.lost.list(); n > 0 {
			s.cfg.Logger.Error("evidence is missing: the same bundle, submitted again, restores it", "files", n, "some", strings.Join(some, ", "))
		}
		if pause.For(ctx, patrolRest) != nil {
			return
		}
	}
}

func (s *Service) patrolOnce(ctx context.Context) error {
	size, err := s.tree.IntegratedSize(ctx)
	if err != nil {
		return err
	}
	for first := uint64(0); first < size; first += layout.EntryBundleWidth {
		bundle, err := client.GetEntryBundle(ctx, s.tree.ReadEntryBundle, first/layout.EntryBundleWidth, size)
		if err != nil {
			return err
		}
		list, err := s.withheld()
		if err != nil {
			return err
		}
		for i, e := range bundle.Entries {
			leaf, err := poclog.ParseLeaf(e)
			if err != nil {
				return fmt.Errorf("entry %d: %w", first+uint64(i), err)
			}
			if err := s.look(ctx, list, leaf); err != nil {
				return err
			}
		}
		if err := pause.For(ctx, patrolPause); err != nil {
			return err
		}
	}
	return nil
}

// look notes which files of an entry are lost. What is withheld may be gone.
func (s *Service) look(ctx context.Context, withheld map[poclog.Digest]bool, leaf poclog.Leaf) error {
	for _, f := range filesOf(leaf) {
		d := f.SHA256
		has, err := s.store.Evidence.Has(ctx, f.Blob)
		if err != nil {
			return err
		}
		s.lost.note(d, f.What, !withheld[d] && (!has || s.lost.has(d) && !s.intact(ctx, d)))
	}
	return nil
}

// A named file is one that an entry names.
type namedFile struct {
	What string
	poclog.Blob
}

func filesOf(leaf poclog.Leaf) []namedFile {
	var all []namedFile
	if c := leaf.Config; c != nil {
		all = append(all, namedFile{"policy", c.Policy})
	}
	if e := leaf.Proof; e != nil {
		v := e.Evidence
		all = append(all, namedFile{"bundle", v.Bundle}, namedFile{"envelope", v.Envelope}, namedFile{"collateral", v.Collateral})
	}
	if e := leaf.Statement; e != nil {
		for _, b := range e.Envelope.Statement.Kept() {
			all = append(all, namedFile{"document", b})
		}
	}
	return slices.DeleteFunc(all, func(f namedFile) bool { return f.Blob == poclog.Blob{} })
}

// restore stores again what an entry's evidence lost, where a submission brings it. What is
// withheld stays lost.
func (s *Service) restore(ctx context.Context, leaf poclog.Leaf, sent ...[]byte) {
	withheld, err := s.withheld()
	if err != nil {
		return // /health says so
	}
	for _, f := range filesOf(leaf) {
		for _, file := range sent {
			if poclog.BlobOf(file) != f.Blob || withheld[f.SHA256] || s.intact(ctx, f.SHA256) {
				continue
			}
			_, err := s.store.Evidence.Put(ctx, file)
			s.lost.note(f.SHA256, f.What, err != nil)
			if err != nil {
				s.cfg.Logger.Error("lost evidence was sent again and could not be kept", "file", f.What, "digest", f.SHA256, "error", err)
				continue
			}
			s.cfg.Logger.Info("lost evidence was sent again and is kept", "file", f.What, "digest", f.SHA256)
		}
	}
}

// intact reports whether the store has a file as its digest says.
func (s *Service) intact(ctx context.Context, d poclog.Digest) bool {
	f, _, err := s.store.Evidence.Open(ctx, d)
	if err != nil {
		return false
	}
	_ = f.Close() // it was only read
	return true
}
