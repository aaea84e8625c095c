package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/vouch/registry"
)

const uncertain = 15 * time.Second // for which a database may still commit what it did not confirm

var maxLines = 4096 // whose history is remembered; a variable for the tests alone

// Statements admit what registrars state (docs/format.md §18). Statements of one registrar on one
// subject are one line: each is judged by those before it, so that one at a time is admitted. A
// line's history is read from the entries, by the index, and is remembered for a while.
type statements struct {
	svc    *Service
	budget *httpd.Budget

	mu    sync.Mutex // guards what follows, and the users of lines
	lines map[registry.Line]*line
	need  uint64 // entries below it may be statements that no line remembers: the index must know them

	doubts uint64 // statements of which it is uncertain whether the tree took them
	solved uint64 // doubts after which the tree's size was read
}

// A line is of one registrar and subject.
type line struct {
	turn  chan struct{} // holds a token while nobody has a statement on the way
	users int

	// Whoever has the token may use what follows.
	history *registry.History        // nil: not read yet
	sent    map[poclog.Digest]uint64 // numbers of the entries, by digest of the statement
	newest  uint64                   // the greatest of them
}

func newStatements(s *Service) *statements {
	return &statements{svc: s, budget: httpd.NewBudget(float64(s.cfg.Statements)), lines: make(map[registry.Line]*line)}
}

// begin tells which entries may hold statements that nobody remembers: those of before the start.
func (x *statements) begin(size uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.need = max(x.need, size)
}

// take waits for a line. The caller gives it back.
func (x *statements) take(ctx context.Context, key registry.Line) (*line, error) {
	x.mu.Lock()
	l := x.lines[key]
	if l == nil {
		if len(x.lines) >= maxLines {
			known := uint64(0)
			if m := x.svc.indexer.current(); m != nil {
				known = m.State().Next
			}
			x.forget(known)
		}
		l = &line{turn: make(chan struct{}, 1)}
		l.turn <- struct{}{}
		x.lines[key] = l
	}
	l.users++
	x.mu.Unlock()
	select {
	case <-l.turn:
		return l, nil
	case <-ctx.Done():
		x.leave(l)
		return nil, refuse(kindUnavailable, "another statement of %q on this subject is on its way: %w", key.Registrar, context.Cause(ctx))
	}
}

func (x *statements) give(l *line) {
	l.turn <- struct{}{}
	x.leave(l)
}

func (x *statements) leave(l *line) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l.users--
}

// forget drops lines that nobody uses and that the index, of the entries below known, has whole.
func (x *statements) forget(known uint64) {
	for key, l := range x.lines {
		if l.users == 0 && (l.history == nil || l.newest < known) {
			delete(x.lines, key)
		}
	}
}

// needed returns the size below which entries may be statements that no line remembers.
func (x *statements) needed(ctx context.Context) (uint64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.solved < x.doubts {
		doubts := x.doubts
		x.mu.Unlock()
		size, err := x.svc.tree.IntegratedSize(ctx)
		x.mu.Lock()
		if err != nil {
			return 0, err
		}
		x.need, x.solved = max(x.need, size), max(x.solved, doubts)
	}
	return x.need, nil
}

// read makes a line's history from the entries.
func (x *statements) read(ctx context.Context, key registry.Line, l *line) error {
	if l.history != nil {
		return nil
	}
	need, err := x.needed(ctx)
	if err != nil {
		return err
	}
	m, err := x.svc.indexer.upTo(ctx, need)
	if err != nil {
		return err
	}
	name := index.Statements + string(key.Subject)
	if key.Subject == "" {
		name = index.RegistrarName(key.Registrar)
	}
	numbers, err := m.All(name)
	if err != nil {
		return err
	}
	h, sent, newest := new(registry.History), make(map[poclog.Digest]uint64), uint64(0)
	var bundle [][]byte
	first := uint64(math.MaxUint64) // of the bundle
	for _, number := range numbers {
		if at := number - number%layout.EntryBundleWidth; at != first {
			size, err := x.svc.tree.IntegratedSize(ctx)
			if err != nil {
				return err
			}
			if bundle, err = x.svc.entries(ctx, at, min(layout.EntryBundleWidth, size-at)); err != nil {
				return err
			}
			first = at
		}
		leaf, err := poclog.ParseLeaf(bundle[number-first])
		if err != nil {
			return err
		}
		if leaf.Statement == nil || registry.LineOf(&leaf.Statement.Envelope.Statement) != key {
			continue
		}
		digest, err := h.Add(&leaf.Statement.Envelope.Statement, leaf.Statement.Time)
		if err != nil {
			return err
		}
		sent[digest], newest = number, number
	}
	l.history, l.sent, l.newest = h, sent, newest
	return nil
}

// now is the time of the next entry of a line, whose entries never go back in time.
func (l *line) now(now time.Time) (time.Time, error) {
	t := poclog.UnixTime(now.Unix())
	if last := l.history.Last(); t.Before(last) {
		return t, refuse(kindUnavailable, "the log's clock was set back: it took the statement before this one at %s", last.Format(time.RFC3339))
	}
	return t, nil
}

// settled takes a statement that is in the tree, or gives up what is known of its line where that
// is uncertain.
func (x *statements) settled(l *line, e *poclog.StatementEntry, number uint64, err error) {
	if err == nil {
		var digest poclog.Digest
		if digest, err = l.history.Add(&e.Envelope.Statement, e.Time); err == nil {
			l.sent[digest], l.newest = number, number
		}
	}
	if err != nil {
		l.history = nil
		x.mu.Lock()
		x.doubts++
		x.mu.Unlock()
	}
	x.give(l)
}

// state admits a statement, in the order: signatures, what stands before it, what is withheld,
// documents, budget, disk, append, publication.
func (s *Service) state(ctx context.Context, sub *poclog.StatementSubmission) (*admission, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.admissions.Done()
	signers, err := s.signed(ctx, &sub.Envelope)
	if err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	waiting, cancel := context.WithTimeoutCause(ctx, s.cfg.PublishTimeout, errors.New("it takes too long"))
	defer cancel()
	stated := &sub.Envelope.Statement
	l, err := s.statements.take(waiting, registry.LineOf(stated))
	if err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			s.statements.give(l)
		}
	}()
	release, next, err := s.store.Turn(waiting, "statements")
	if err != nil {
		return nil, refuse(kindUnavailable, "%w", err)
	}
	defer func() {
		if !kept {
			release()
		}
	}()
	if s.store.Shared { // another front end may have taken one of this line
		l.history = nil
		s.statements.begin(next)
	}
	if err := s.statements.read(waiting, registry.LineOf(stated), l); err != nil {
		return nil, refuse(kindUnavailable, "%w", err)
	}
	file, err := stated.Marshal()
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	if number, ok := l.sent[poclog.Sum(file)]; ok {
		return s.stated(ctx, number, sub.Documents...)
	}
	if err := s.rules.registrars.Follows(&sub.Envelope, l.history); err != nil {
		return nil, err
	}
	e := &poclog.StatementEntry{Envelope: sub.Envelope, Signers: signers, Policy: poclog.BlobOf(s.rules.file)}
	if err := s.publishable(poclog.Leaf{Statement: e}); err != nil {
		return nil, err
	}
	if err := s.keepDocuments(ctx, sub); err != nil {
		return nil, err
	}
	if e.Time, err = l.now(s.cfg.Now()); err != nil {
		return nil, err
	}
	leaf, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	kept = true // from here on the line is given back when it is certain what became of the entry
	number, checkpoint, err := s.append(ctx, leaf, poclog.Leaf{Statement: e}, func(number uint64, err error) {
		s.statements.settled(l, e, number, err)
		settles(release)(number, err)
	})
	if err != nil {
		return nil, refuse(kindUnavailable, "%w", err)
	}
	receipt, err := s.receipt(ctx, poclog.Receipt{Entry: leaf, Index: number, Inclusion: poclog.Inclusion{Checkpoint: checkpoint}}, nil)
	if err != nil {
		return nil, err
	}
	s.cfg.Logger.Info("statement", "number", number, "type", stated.Type, "registrar", stated.Registrar, "subject", stated.Subject, "serial", stated.Serial)
	return &admission{receipt: receipt, isNew: true, number: number}, nil
}

// signed verifies the signatures, in a turn: strangers may send anything.
func (s *Service) signed(ctx context.Context, v *poclog.StatementEnvelope) ([]poclog.Digest, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.rules.registrars.Signed(v, s.origin)
}

// stated answers with the receipt of a statement that is in the log, and restores what is lost of
// its documents.
func (s *Service) stated(ctx context.Context, number uint64, sent ...[]byte) (*admission, error) {
	return s.again(ctx, number, sent, func(_ context.Context, l poclog.Leaf) ([]byte, error) {
		if l.Statement == nil {
			return nil, fmt.Errorf("entry %d is no statement", number)
		}
		return nil, nil
	})
}

// keepDocuments spends the registrar's budget and stores the documents, all or none of which the
// log has or is sent.
func (s *Service) keepDocuments(ctx context.Context, sub *poclog.StatementSubmission) error {
	stated, size := &sub.Envelope.Statement, 0
	sent := make(map[poclog.Blob][]byte)
	for _, b := range sub.Documents {
		sent[poclog.BlobOf(b)] = b
	}
	for _, blob := range stated.Kept() {
		has, err := s.store.Evidence.Has(ctx, blob)
		if err != nil {
			return refuse(kindUnavailable, "%w", err)
		}
		switch {
		case has:
			delete(sent, blob)
		case sent[blob] == nil:
			return verify.Failf(registry.CheckDocument, "document %s is not here: send it with the statement", blob.SHA256)
		default:
			size += len(sent[blob])
		}
	}
	if !s.cfg.UnsafeUnlimited && s.statements.budget.Spend(s.cfg.Now(), httpd.ClientOf(ctx), 1, stated.Registrar) != "" {
		s.http.Limited("budget")
		return refuse(httpd.KindTooMany, "statements of %q: this address has had its share of %d an hour", stated.Registrar, s.cfg.Statements)
	}
	if err := s.budget.disk(ctx, size, s.cfg.Now()); err != nil {
		return err
	}
	for _, b := range sent {
		if _, err := s.store.Evidence.Put(ctx, b); err != nil {
			return refuse(kindUnavailable, "%w", err)
		}
	}
	return nil
}

func (s *Service) postStatement(w http.ResponseWriter, r *http.Request) error {
	sub, err := s.readStatement(w, r)
	if err != nil {
		return err
	}
	a, err := s.state(r.Context(), sub)
	return s.answer(w, a, err)
}

func (s *Service) readStatement(w http.ResponseWriter, r *http.Request) (*poclog.StatementSubmission, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	limit, ok := map[string]int64{poclog.EnvelopeType: poclog.MaxStatementEnvelope, poclog.StatementSubmissionType: poclog.MaxStatementSubmission}[kind]
	if err != nil || !ok {
		return nil, refuse(kindMediaType, "media type %.100q: want %s or %s", r.Header.Get("Content-Type"), poclog.EnvelopeType, poclog.StatementSubmissionType)
	}
	body, err := s.http.ReadBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	sub := new(poclog.StatementSubmission)
	if kind == poclog.EnvelopeType {
		var v *poclog.StatementEnvelope
		if v, err = poclog.ParseStatementEnvelope(body); err == nil {
			sub.Envelope = *v
		}
	} else {
		sub, err = poclog.ParseStatementSubmission(body)
	}
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	return sub, nil
}
