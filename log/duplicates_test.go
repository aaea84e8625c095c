package log_test

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
)

func duplicatesPath(dir string) string { return filepath.Join(dir, "state", "duplicates.db") }

// flush removes what SQLite keeps beside a database, once its content is in it.
func flush(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// A list of known evidence that is lost, damaged, behind, ahead or another log's is made good before
// anything is admitted: no evidence becomes an entry twice.
func TestKnownEvidenceSurvivesRestartsAndLoss(t *testing.T) {
	other, _ := stopped(t, 3)
	for name, harm := range map[string]func(t *testing.T, path string){
		"untouched": func(*testing.T, string) {},
		"lost":      func(t *testing.T, path string) { noError(t, sqlite.Remove(path)) },
		"truncated": func(t *testing.T, path string) { flush(t, path); noError(t, os.Truncate(path, 5000)) },
		"no database": func(t *testing.T, path string) {
			noError(t, sqlite.Remove(path))
			noError(t, os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600))
		},
		"of a newer version": func(t *testing.T, path string) { change(t, path, `PRAGMA user_version = 99`) },
		"behind": func(t *testing.T, path string) {
			noError(t, sqlite.Remove(path))
			flush(t, duplicatesPath(other.dir))
			copyTree(t, duplicatesPath(other.dir), path)
			change(t, path, `DELETE FROM known; UPDATE state SET next = 0, config = NULL`)
		},
		"ahead of the tree": func(t *testing.T, path string) { change(t, path, `DELETE FROM known; UPDATE state SET next = 1000`) },
		"of another log": func(t *testing.T, path string) {
			noError(t, sqlite.Remove(path))
			flush(t, duplicatesPath(other.dir))
			copyTree(t, duplicatesPath(other.dir), path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, subs := stopped(t, 3)
			harm(t, duplicatesPath(l.dir))
			l = serve(t, l.dir, logConfig())
			for i, sub := range subs {
				if got := submit(t, l, sub); got.New || got.Verdict.Index != uint64(i)+1 {
					t.Errorf("submission %d: new %v, entry %d", i, got.New, got.Verdict.Index)
				}
			}
			r := l.fsck(t)
			if len(r.Findings) > 0 || r.Proofs != 3 || r.Configs != 1 {
				t.Errorf("fsck: %+v", r)
			}
		})
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Damage that is found while the log is served is mended without a restart.
func TestKnownEvidenceThatIsDamagedWhileServedIsMadeAnew(t *testing.T) {
	f := newFab()
	var messages bytes.Buffer // read once the log is closed
	l := serveLogging(t, f.initLog(t), logConfig(), slog.New(slog.NewTextHandler(&messages, nil)))
	var subs []*poclog.Submission
	for i := range uint64(3) {
		subs = append(subs, f.submission(t, i))
		submit(t, l, subs[i])
	}
	path := duplicatesPath(l.dir)
	flush(t, path)
	damagePage(t, path, "known")
	change(t, path, `UPDATE state SET next = next`) // what is open reads its pages again
	for i, sub := range subs {
		if got := eventually(t, l, sub); got.New || got.Verdict.Index != uint64(i)+1 {
			t.Errorf("submission %d: new %v, entry %d", i, got.New, got.Verdict.Index)
		}
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 3 {
		t.Errorf("fsck: %+v", r)
	}
	noError(t, l.svc.Close(t.Context()))
	if !strings.Contains(messages.String(), "it is made anew") {
		t.Errorf("the damage was not found: nothing was tested: %s", messages.String())
	}
}

// damagePage overwrites the first page of a table, which whoever looks something up reads.
func damagePage(t *testing.T, path, table string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	noError(t, err)
	var page int64
	noError(t, db.QueryRow(`SELECT rootpage FROM sqlite_schema WHERE name = ?`, table).Scan(&page))
	noError(t, db.Close())
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	noError(t, err)
	_, err = file.WriteAt(bytes.Repeat([]byte{0xff}, 4096), (page-1)*4096)
	noError(t, errors.Join(err, file.Close()))
}

// Entries that a running log knows and has not published yet are no finding.
func TestFsckLeavesOutKnownEvidenceThatWaits(t *testing.T) {
	l, _ := stopped(t, 3)
	l = serve(t, l.dir, logConfig())
	noError(t, l.svc.Close(t.Context()))
	change(t, duplicatesPath(l.dir), `UPDATE state SET next = 100, config = x'00'; INSERT INTO known VALUES (x'00112233445566778899aabbccddeeff', 99, 0)`)
	if r := l.fsck(t); len(r.Findings) > 0 {
		t.Errorf("%+v: want none", r.Findings)
	}
}

func TestFsckHoldsKnownEvidenceToTheEntries(t *testing.T) {
	for name, c := range map[string]struct{ statement, want string }{
		"a key is missing":         {`DELETE FROM known WHERE number = 2`, "lacks it"},
		"a key is another entry's": {`UPDATE known SET number = 1 WHERE number = 2`, "no entry states"},
		"a key too many":           {`INSERT INTO known VALUES (x'00112233445566778899aabbccddeeff', 1, 0)`, "1 keys that no entry states"},
		"it proved something else": {`UPDATE known SET proved = 0 WHERE number = 3`, "has another of it"},
		"another config entry":     {`UPDATE state SET config = NULL`, "another config entry"},
		"no table":                 {`DROP TABLE state`, "no such table"},
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := stopped(t, 3)
			// What was not written when the log stopped is written by the next start.
			l = serve(t, l.dir, logConfig())
			noError(t, l.svc.Close(t.Context()))
			if r := l.fsck(t); len(r.Findings) > 0 {
				t.Fatalf("before: %+v", r.Findings)
			}
			change(t, duplicatesPath(l.dir), c.statement)
			r := l.fsck(t)
			if len(r.Findings) == 0 || !strings.Contains(r.Findings[0].Detail, c.want) {
				t.Errorf("%+v: want %q", r.Findings, c.want)
			}
		})
	}
}
