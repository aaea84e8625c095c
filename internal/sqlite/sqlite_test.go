package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var plain = Schema{"CREATE TABLE t (x INTEGER NOT NULL) STRICT;"}

func create(t *testing.T, s Schema) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "it is 100% a?b#c.db") // none of it may end the path in a URI
	if err := Create(path, s); err != nil {
		t.Fatal(err)
	}
	return path
}

func open1(t *testing.T, path string, s Schema) *DB {
	t.Helper()
	db, err := Open(path, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func pragma(t *testing.T, db *sql.DB, name string) (v string) {
	t.Helper()
	if err := db.QueryRow("PRAGMA " + name).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDurableForItsOwnerAlone(t *testing.T) {
	path := create(t, plain)
	db := open1(t, path, plain)
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "user_version": "1", "busy_timeout": "10000"} {
		if got := pragma(t, db.DB, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Read.Exec("INSERT INTO t VALUES (2)"); err == nil {
		t.Error("a reader wrote")
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(files) < 2 { // the database and its log
		t.Fatal(files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", f, info.Mode())
		}
	}
}

func TestWritersTakeTurns(t *testing.T) {
	path := create(t, plain)
	a, b := open1(t, path, plain), open1(t, path, plain)
	if _, err := a.Exec("INSERT INTO t VALUES (0)"); err != nil {
		t.Fatal(err)
	}
	// A transaction that reads first and writes then fails in the middle, if others may write in
	// between: ten times two of them do not.
	increment := func(tx *sql.Tx) error {
		var x int
		if err := tx.QueryRow("SELECT x FROM t").Scan(&x); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE t SET x = ?", x+1)
		return err
	}
	var wg sync.WaitGroup
	for _, db := range []*DB{a, b} {
		for range 10 {
			wg.Go(func() {
				if err := db.Tx(t.Context(), increment); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if got := number(t, a, "SELECT x FROM t"); got != 20 {
		t.Errorf("x = %d, want 20", got)
	}
}

func number(t *testing.T, db *DB, query string) (n int) {
	t.Helper()
	if err := db.Read.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	db := open1(t, create(t, plain), plain)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO t VALUES (1)"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var n int
		if err := db.Read.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 0 {
			t.Errorf("a reader beside a transaction: %d rows, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailedTransactionChangesNothing(t *testing.T) {
	db := open1(t, create(t, plain), plain)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO t VALUES (1)"); err != nil {
			return err
		}
		return OneRow(tx.Exec("UPDATE t SET x = 3 WHERE x = 2"))
	})
	if !errors.Is(err, errRace) {
		t.Errorf("a statement that changed nothing: %v", err)
	}
	if n := number(t, db, "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestStatementsAreOfTheirTransaction(t *testing.T) {
	db := open1(t, create(t, plain), plain)
	insert, err := db.Statement("INSERT INTO t VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	for _, end := range []error{nil, gone, nil} {
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			if err := OneRow(insert.Exec(tx, 1)); err != nil {
				return err
			}
			return end
		})
		if !errors.Is(err, end) {
			t.Error(err)
		}
	}
	if n := number(t, db, "SELECT count(*) FROM t"); n != 2 {
		t.Errorf("%d rows: want those of the two transactions that ended well", n)
	}
	if _, err := db.Statement("INSERT INTO nothing VALUES (?)"); err == nil {
		t.Error("a statement about no table was prepared")
	}
}

func TestOpenBeginsNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	if _, err := Open(path, plain); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("Open made a file")
	}
	for name, content := range map[string]string{"an empty file": "", "another file": strings.Repeat("not a database\n", 1000)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if db, err := Open(path, plain); err == nil {
			db.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	path := create(t, plain)
	db := open1(t, path, plain)
	if _, err := db.Exec("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, plain); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if n := number(t, db, "SELECT count(*) FROM t"); n != 1 {
		t.Errorf("%d rows are left, want 1", n)
	}
}

func TestCreateLeavesNothingWhenItFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := Create(path, Schema{plain[0], "CREATE TABLE t (again INTEGER)"}); err == nil {
		t.Fatal("a schema that makes a table twice was taken")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 0 {
		t.Errorf("left: %v, %v", files, err)
	}
}

func TestMigrate(t *testing.T) {
	path := create(t, plain)
	db := open1(t, path, plain)
	if _, err := db.Exec("INSERT INTO t VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	half := append(plain[:1:1], "ALTER TABLE t ADD COLUMN y INTEGER NOT NULL DEFAULT 1;", "CREATE TABLE t (again INTEGER)")
	if other, err := Open(path, half); err == nil {
		other.Close()
		t.Error("a step that fails was passed over")
	}
	if _, err := db.Exec("SELECT y FROM t"); err == nil {
		t.Error("half of the steps were made")
	}

	next := append(half[:2:2], "UPDATE t SET y = y + 1;")
	var wg sync.WaitGroup
	for range 8 { // at once: each step is made once
		wg.Go(func() {
			other, err := Open(path, next)
			if err != nil {
				t.Error(err)
				return
			}
			other.Close()
		})
	}
	wg.Wait()
	if x, y := number(t, db, "SELECT x FROM t"), number(t, db, "SELECT y FROM t"); x != 7 || y != 2 {
		t.Errorf("x = %d, y = %d, want 7 and 2", x, y)
	}
	if other, err := Open(path, plain); err == nil {
		other.Close()
		t.Error("a later version was opened")
	} else if !strings.Contains(err.Error(), "version 3: want 1") {
		t.Errorf("a later version: %v", err)
	}
}

func TestRemoveLeavesNothingOfADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.WriteFile(path+suffix, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing to remove
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
			t.Errorf("%v, %v: want an empty folder", left, err)
		}
	}
}

// A copy is in a folder of its own, which goes with it; a damaged database is made anew.
func TestDerivedIsCopiedOrMadeAnew(t *testing.T) {
	path, s := create(t, Schema{`CREATE TABLE t (n INTEGER)`, `INSERT INTO t VALUES (7)`}), Schema{`CREATE TABLE t (n INTEGER)`, `INSERT INTO t VALUES (7)`}
	var db *DB
	told := 0
	d := Derived{Path: path, Schema: s, Use: func(opened *DB) error { db = opened; return nil }, Told: func(error) { told++ }}
	for _, whole := range []bool{true, false} {
		if err := d.OpenCopy(whole); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.Row(t.Context(), `SELECT n FROM t`).Scan(&n); err != nil || n != 7 || !db.IsTemporary() {
			t.Errorf("%d of a copy, %v", n, err)
		}
		dir := db.temporary
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the copy is there after it was closed: %v", err)
		}
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Open(); err != nil || told != 1 || db.IsTemporary() {
		t.Errorf("a damaged database: told %d times, %v", told, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
