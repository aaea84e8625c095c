package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
)

// A note is a signed note of exceptions, and what was signed.
type note struct {
	message poclog.Digest
	file    []byte
}

// ErrNoExceptions says that no tree of a log was cosigned with exceptions, or that there are none
// any more.
var ErrNoExceptions = errors.New("there are no exceptions: the auditor's own keys sign")

// Exceptions returns the signed note of exceptions on the tree of a log that the keys for
// exceptions cosigned last.
func (a *Auditor) Exceptions(ctx context.Context, origin string) ([]byte, error) {
	return a.exceptions(ctx, witness.HashOf(origin))
}

func (a *Auditor) exceptions(ctx context.Context, hash string) ([]byte, error) {
	signed, err := a.except.Published(ctx, hash)
	if err != nil {
		return nil, err
	}
	if signed == nil {
		return nil, ErrNoExceptions
	}
	cp, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	e := &poclog.Exceptions{Auditor: a.except.Name(), Origin: cp.Origin, Size: cp.Size, Root: cp.Root}
	if e.Except, err = a.state.numbers(ctx, cp.Origin, cp.Size); err != nil {
		return nil, err
	}
	f, err := a.state.fault(ctx, cp.Origin, cp.Size)
	switch {
	case err != nil:
		return nil, err
	case f != nil:
		return nil, &Refused{Origin: cp.Origin, Findings: []Finding{*f}}
	case len(e.Except) == 0:
		return nil, ErrNoExceptions
	}
	return a.sign(e)
}

// sign signs a note once: whoever asks again gets the same.
func (a *Auditor) sign(e *poclog.Exceptions) ([]byte, error) {
	message, err := e.Message()
	if err != nil {
		return nil, err
	}
	sum := poclog.Sum(message)
	a.mu.Lock()
	n := a.notes[e.Origin]
	a.mu.Unlock()
	if n.message == sum && n.file != nil {
		return n.file, nil
	}
	if e.Signatures, err = a.except.Statement(message); err != nil {
		return nil, err
	}
	file, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.notes[e.Origin] = note{sum, file}
	a.mu.Unlock()
	return file, nil
}

func (a *Auditor) serveExceptions(rw http.ResponseWriter, req *http.Request) error {
	file, err := a.exceptions(req.Context(), req.PathValue("hash"))
	if refused := (*Refused)(nil); errors.Is(err, ErrNoExceptions) || errors.As(err, &refused) {
		return httpd.Refuse(httpd.KindNotFound, "%w", err)
	}
	if err != nil {
		return err
	}
	return httpd.Send(rw, httpd.JSON, "no-cache", file)
}

func (a *Auditor) serveExcepted(rw http.ResponseWriter, req *http.Request) error {
	signed, err := a.except.Published(req.Context(), req.PathValue("hash"))
	if err != nil {
		return err
	}
	if signed == nil {
		return httpd.Refuse(httpd.KindNotFound, "no checkpoint of such a log was cosigned with exceptions")
	}
	return httpd.Send(rw, httpd.Text, "no-cache", signed)
}

// unseen counts the exceptions in a tree.
func (s *state) unseen(ctx context.Context, origin string, size uint64) (n uint64, err error) {
	err = s.db.Read.QueryRowContext(ctx, "SELECT count(*) FROM withheld WHERE origin = ? AND entry < ?", origin, int64(size)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read the audit state of %q: %w", origin, err)
	}
	return n, nil
}

// numbers lists the exceptions in a tree, as many as a note lists and one more.
func (s *state) numbers(ctx context.Context, origin string, size uint64) (list []uint64, err error) {
	const query = "SELECT entry FROM withheld WHERE origin = ? AND entry < ? ORDER BY entry LIMIT ?"
	err = s.each(ctx, query, []any{origin, int64(size), poclog.MaxExcepted + 1}, func(rows *sql.Rows) error {
		var n uint64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		list = append(list, n)
		return nil
	})
	return list, err
}

// fault returns the first entry of a tree that is refused, or nil.
func (s *state) fault(ctx context.Context, origin string, size uint64) (*Finding, error) {
	var f Finding
	err := s.db.Read.QueryRowContext(ctx, "SELECT entry, chk, detail FROM refused WHERE origin = ? AND entry < ? AND resolved = 0 ORDER BY entry LIMIT 1",
		origin, int64(size)).Scan(&f.Entry, &f.Check, &f.Detail)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit state of %q: %w", origin, err)
	}
	return &f, nil
}
