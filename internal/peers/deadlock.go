package peers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Open connects to a schema.
func (d *Database) Open(t testing.TB, schema string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/%s", User, Password, d.Address, schema))
	ok(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// codeDeadlock is ER_LOCK_DEADLOCK.
const codeDeadlock = 1213

// Deadlock has transactions lock pairs of tables, the first whole and then the second, again and
// again for a time. Who locks them in the other order deadlocks. Each transaction has written a lot
// before, so that InnoDB ends the other one. It returns how many deadlocks there were, and of how
// many the victim was a transaction of its own.
func (d *Database) Deadlock(t testing.TB, schema string, during time.Duration, pairs ...[2]string) (all, own int) {
	t.Helper()
	db := d.Open(t, schema)
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	before := d.Metric(t, "lock_deadlocks")
	var mu sync.Mutex
	var running sync.WaitGroup
	for i, p := range pairs {
		ballast := fmt.Sprintf("PeersBallast%d", i)
		_, err := db.Exec("CREATE TABLE IF NOT EXISTS " + ballast + " (n INT PRIMARY KEY) ENGINE InnoDB")
		ok(t, err)
		running.Go(func() {
			for ctx.Err() == nil {
				var e *mysql.MySQLError
				if err := lockPair(ctx, db, ballast, p); errors.As(err, &e) && e.Number == codeDeadlock {
					mu.Lock()
					own++
					mu.Unlock()
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	running.Wait()
	return d.Metric(t, "lock_deadlocks") - before, own
}

func lockPair(ctx context.Context, db *sql.DB, ballast string, pair [2]string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO "+ballast+" SELECT seq FROM seq_1_to_2000"); err != nil {
		return err
	}
	for _, table := range pair {
		if _, err := tx.ExecContext(ctx, "SELECT COUNT(*) FROM "+table+" FOR UPDATE"); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // who locks in the other order comes in between
	}
	return nil
}

// Lock locks all of a table for a time: who needs it meanwhile may wait for too long.
func (d *Database) Lock(t testing.TB, schema, table string, during time.Duration) {
	t.Helper()
	tx, err := d.Open(t, schema).Begin()
	ok(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec("SELECT COUNT(*) FROM " + table + " FOR UPDATE")
	ok(t, err)
	time.Sleep(during)
}

// Metric reads one of the server's InnoDB metrics, such as "lock_timeouts".
func (d *Database) Metric(t testing.TB, name string) (n int) {
	t.Helper()
	ok(t, d.Open(t, "information_schema").QueryRow("SELECT count FROM INNODB_METRICS WHERE name = ?", name).Scan(&n))
	return n
}
