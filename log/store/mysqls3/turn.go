package mysqls3

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Times of turns.
const (
	turnAgain   = 100 * time.Millisecond // between two tries to get a turn that another front end has
	releaseEach = time.Second            // between two tries to give one back
)

const turnsTable = `CREATE TABLE IF NOT EXISTS PoclogTurns (name VARCHAR(64) NOT NULL PRIMARY KEY, owner BINARY(16) NOT NULL)`

// turns are what one front end does at a time: a row is a turn that is taken. It ends when it is given
// back, or once its front end is taken for dead and so writes no more, whatever became of the
// connection by which it was taken.
type turns struct {
	db     *sql.DB
	owner  []byte // 16 bytes: this process
	closed chan struct{}

	mu    sync.Mutex               // guards what follows
	local map[string]chan struct{} // by name, what holds a token while nobody in this process has the turn
}

func newTurns(db *sql.DB, owner []byte) *turns {
	return &turns{db: db, owner: owner, closed: make(chan struct{}), local: make(map[string]chan struct{})}
}

func (t *turns) token(name string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.local[name]
	if c == nil {
		c = make(chan struct{}, 1)
		c <- struct{}{}
		t.local[name] = c
	}
	return c
}

// take waits for a turn, and returns how many entries have numbers by then.
func (t *turns) take(ctx context.Context, name string) (release func(), next uint64, err error) {
	token := t.token(name)
	select {
	case <-token:
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("take the turn %q: %w", name, context.Cause(ctx))
	}
	release = func() { t.release(name, token) }
	for {
		got, err := t.try(ctx, name)
		if code := codeOf(err); err != nil && code != codeDeadlock && code != codeLockTimeout {
			release() // a row may be there whose answer was lost
			return nil, 0, fmt.Errorf("take the turn %q: %w", name, explain(err))
		}
		if got {
			break
		}
		select {
		case <-time.After(turnAgain):
		case <-ctx.Done():
			release()
			return nil, 0, fmt.Errorf("take the turn %q, which another front end has: %w", name, context.Cause(ctx))
		}
	}
	if err := t.db.QueryRowContext(ctx, "SELECT next FROM SeqCoord WHERE id = 0").Scan(&next); err != nil && !errors.Is(err, sql.ErrNoRows) {
		release()
		return nil, 0, fmt.Errorf("take the turn %q: %w", name, explain(err))
	}
	return release, next, nil
}

// try inserts the turn's row. One of this process is left from a try whose answer was lost. One of a
// front end that is dead is removed.
func (t *turns) try(ctx context.Context, name string) (got bool, err error) {
	_, err = t.db.ExecContext(ctx, `INSERT INTO PoclogTurns VALUES (?, ?)`, name, t.owner)
	if code := codeOf(err); code == codeNoTable {
		_, err = t.db.ExecContext(ctx, turnsTable)
		return false, err
	} else if code != codeDuplicate {
		return err == nil, err
	}
	err = t.db.QueryRowContext(ctx, `SELECT owner = ? FROM PoclogTurns WHERE name = ?`, t.owner, name).Scan(&got)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil || got {
		return got, err
	}
	_, err = t.db.ExecContext(ctx, `DELETE FROM PoclogTurns WHERE name = ? AND owner NOT IN
		(SELECT id FROM PoclogFrontEnds WHERE seen > SYSDATE(6) - INTERVAL ? SECOND)`, name, int(frontEndIdle.Seconds()))
	return false, err
}

// release gives a turn back. It is tried until it is done: others wait for it as long as this process
// lives.
func (t *turns) release(name string, token chan struct{}) {
	once := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		_, err := t.db.ExecContext(ctx, `DELETE FROM PoclogTurns WHERE name = ? AND owner = ?`, name, t.owner)
		if err != nil && !isNoTable(err) {
			return false
		}
		token <- struct{}{}
		return true
	}
	if once() {
		return
	}
	go func() {
		for {
			select {
			case <-t.closed:
				return
			case <-time.After(releaseEach):
			}
			if once() {
				return
			}
		}
	}()
}

// close gives back what this process has, as far as the database answers.
func (t *turns) close() {
	close(t.closed)
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_, _ = t.db.ExecContext(ctx, `DELETE FROM PoclogTurns WHERE owner = ?`, t.owner) // they end with this front end otherwise
}
