package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// takeNote fetches the note of exceptions that belongs to an auditor's cosignature, and keeps it
// beside the published checkpoint: with it a receipt of any other entry is audited.
func (c *cosigner) takeNote(ctx context.Context, base []byte, lines [][]byte, p *publisher) error {
	if !slices.ContainsFunc(lines, excepted) {
		return nil
	}
	file, err := c.fetchNote(ctx, base)
	if err != nil {
		return err
	}
	return p.addNote(base, file)
}

// excepted reports whether a signature line is of a key for exceptions.
func excepted(line []byte) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(string(line), "— "), " ")
	return strings.HasSuffix(name, poclog.ExceptSuffix)
}

// fetchNote asks an auditor for its note on a checkpoint's tree. A note on another tree, or with a
// wrong signature, is none.
func (c *cosigner) fetchNote(ctx context.Context, base []byte) ([]byte, error) {
	cp, err := tlogpolicy.ParseCheckpoint(base)
	if err != nil {
		return nil, err
	}
	url := strings.TrimSuffix(c.url, "add-checkpoint") + "audit/" + poclog.Sum([]byte(cp.Origin)).String() + "/exceptions"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, reason(err)
	}
	defer resp.Body.Close()
	file, err := io.ReadAll(io.LimitReader(resp.Body, poclog.MaxExceptions+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, said(file))
	}
	return file, c.checkNote(file, cp)
}

func (c *cosigner) checkNote(file []byte, cp tlogpolicy.Checkpoint) error {
	e, err := poclog.ParseExceptions(file)
	if err != nil {
		return err
	}
	if e.Origin != cp.Origin || e.Size != cp.Size || e.Root != cp.Root {
		return fmt.Errorf("it is on size %d of %q: want size %d of %q", e.Size, e.Origin, cp.Size, cp.Origin)
	}
	_, err = c.policy.Excepted(e)
	return err
}

// addNote keeps a note on the tree of a checkpoint, if its tree is still the published one. Of an
// auditor only the newest is kept.
func (p *publisher) addNote(base, file []byte) error {
	e, err := poclog.ParseExceptions(file)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Equal(base, p.published) {
		return nil
	}
	// Whoever reads the notes holds the old slice.
	notes := slices.DeleteFunc(slices.Clone(p.notes), func(f []byte) bool { return auditorOf(f) == e.Auditor })
	at, _ := slices.BinarySearchFunc(notes, e.Auditor, func(f []byte, name string) int { return strings.Compare(auditorOf(f), name) })
	if len(notes) == poclog.MaxNotes {
		return errors.New("more auditors have exceptions than a receipt carries")
	}
	p.notes = slices.Insert(notes, at, file)
	return nil
}

// auditorOf is the name of the keys that signed a note.
func auditorOf(file []byte) string {
	e, err := poclog.ParseExceptions(file)
	if err != nil {
		return ""
	}
	return e.Auditor
}

// notesOn returns the notes on the tree of a size, as far as it is the published one.
func (p *publisher) notesOn(size uint64) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size != p.size {
		return nil
	}
	return p.notes
}

// getExceptions answers with the notes on the published tree, one a line.
func (s *Service) getExceptions(w http.ResponseWriter, _ *http.Request) error {
	size, _, _ := s.published.state()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-cache")
	for _, file := range s.published.notesOn(size) {
		_, _ = w.Write(append(slices.Clip(file), '\n')) // the client may be gone
	}
	return nil
}
