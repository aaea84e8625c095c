package log

import (
	"context"

	"github.com/transparency-dev/tessera"
)

// OnParse has a test told what admission parses. It is called before anything is submitted.
func (s *Service) OnParse(f func(what string)) { s.parsed = f }

// Fill appends leaves past admission, and waits until the tree has them: for benchmarks of large
// logs.
func (s *Service) Fill(ctx context.Context, leaves [][]byte) error {
	add, _ := s.tree.appender()
	futures := make([]tessera.IndexFuture, len(leaves))
	for i, leaf := range leaves {
		futures[i] = add(ctx, tessera.NewEntry(leaf))
	}
	for _, f := range futures {
		at, err := f()
		if err != nil {
			return err
		}
		s.published.want(at.Index + 1)
	}
	return nil
}

// Derived reports whether index and known evidence are of all published entries.
func (s *Service) Derived(ctx context.Context) bool {
	size, _, _ := s.published.state()
	m := s.indexer.current()
	return m != nil && m.State().Next >= size && s.followed(ctx) >= size
}

func (s *Service) followed(ctx context.Context) uint64 {
	if s.store.Known != nil {
		next, _, err := s.store.Known.Next(ctx)
		if err != nil {
			return 0
		}
		return next
	}
	d := s.duplicates.(*duplicatesDB)
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.next
}

// Admits reports whether the log admits submissions.
func (s *Service) Admits() bool { return len(s.troubles()) == 0 }

// SetMaxLines has few lines of statements be remembered, until the function that it returns is
// called.
func SetMaxLines(n int) (undo func()) {
	was := maxLines
	maxLines = n
	return func() { maxLines = was }
}

// Lines is of how many lines of statements the log remembers the history.
func (s *Service) Lines() int {
	s.statements.mu.Lock()
	defer s.statements.mu.Unlock()
	return len(s.statements.lines)
}
