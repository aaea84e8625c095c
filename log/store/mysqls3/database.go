package mysqls3

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/poclog/poclog/verify"
)

// Times of the database.
const (
	connectTimeout = 5 * time.Second
	queryTimeout   = 30 * time.Second
	// The driver holds a transaction open while it asks witnesses and writes to S3.
	sessionIdle = 45 * time.Second
)

// Codes of errors, https://mariadb.com/docs/server/reference/error-codes.
const (
	codeAccessDenied   = 1045
	codeAccessDeniedDB = 1044
	codeNoDatabase     = 1049
	codeNoTable        = 1146
	codeTooMany        = 1040
	codeTooManyUser    = 1203
	codeTooManyOfUser  = 1226
	codeReadOnly       = 1290
)

func codeOf(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

func isNoTable(err error) bool { return codeOf(err) == codeNoTable }

// explain adds to an error of the database what would help.
func explain(err error) error {
	help := ""
	switch codeOf(err) {
	case codeAccessDenied, codeAccessDeniedDB:
		help = "check the user in store.json, and " + EnvPassword + " or " + EnvPasswordFile
	case codeNoDatabase:
		help = "create it, and grant the user all on it"
	case codeTooMany, codeTooManyUser, codeTooManyOfUser:
		help = fmt.Sprintf("each front end takes up to %d connections", 2*maxConnections)
	case codeReadOnly:
		help = "the server is read-only: a front end needs the primary"
	}
	var netErr *net.OpError
	if errors.As(err, &netErr) {
		help = "the database is out of reach"
	}
	if help == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, help)
}

// databases are connections to one database. What says that this front end lives, and looks whether the
// database answers, does not queue behind what is asked for submissions.
type databases struct {
	work  *sql.DB
	watch *sql.DB
}

func (d *databases) close() error { return errors.Join(d.work.Close(), d.watch.Close()) }

// openDatabase connects, and refuses a server on which nothing would be safe.
func openDatabase(ctx context.Context, d Database, dsn string) (db *databases, err error) {
	db = new(databases)
	for _, pool := range []struct {
		db  **sql.DB
		max int
	}{{&db.work, maxConnections - maxWatching}, {&db.watch, maxWatching}} {
		if *pool.db, err = sql.Open("mysql", dsn); err != nil {
			return nil, errors.New("database: its address, name or user cannot be used") // the error may quote the password
		}
		(*pool.db).SetMaxOpenConns(pool.max)
		(*pool.db).SetMaxIdleConns((pool.max + 1) / 2)
		(*pool.db).SetConnMaxIdleTime(sessionIdle / 2)
	}
	if err := checkDatabase(ctx, db.watch); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s at %s: %w", d.Name, d.Address, explain(err)), db.close())
	}
	return db, nil
}

// checkDatabase refuses a server of another kind or version, one that may forget what it committed,
// one on which uncommitted rows are read, and one whose clock is off.
func checkDatabase(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var version string
	if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	vars, err := variables(ctx, db)
	if err != nil {
		return err
	}
	isolation := vars["transaction_isolation"]
	if isolation == "" {
		isolation = vars["tx_isolation"] // MariaDB before 11.1
	}
	if isolation != "REPEATABLE-READ" && isolation != "READ-COMMITTED" && isolation != "SERIALIZABLE" {
		return fmt.Errorf("transaction isolation %q: want REPEATABLE-READ, or a checkpoint could cover what is not committed", isolation)
	}
	if v := vars["innodb_flush_log_at_trx_commit"]; v != "1" {
		return fmt.Errorf("innodb_flush_log_at_trx_commit is %q: want 1, or the server forgets what it committed", v)
	}
	if v := vars["default_storage_engine"]; v != "InnoDB" {
		return fmt.Errorf("default_storage_engine is %q: want InnoDB", v)
	}
	if v := vars["read_only"]; v == "ON" {
		return errors.New("the server is read-only: a front end needs the primary")
	}
	return checkClock(ctx, db)
}

// checkVersion takes MySQL 8 and MariaDB 10.5, and what came later.
func checkVersion(version string) error {
	maria := strings.Contains(version, "MariaDB")
	parts := strings.SplitN(version, ".", 3)
	major, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) < 3 {
		return fmt.Errorf("version %.60q is none that is known", version)
	}
	minor, _ := strconv.Atoi(parts[1])
	if maria && (major > 10 || major == 10 && minor >= 5) || !maria && major >= 8 {
		return nil
	}
	return fmt.Errorf("version %.60q: want MySQL 8 or MariaDB 10.5, or later", version)
}

func variables(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SHOW VARIABLES WHERE Variable_name IN
		('transaction_isolation', 'tx_isolation', 'innodb_flush_log_at_trx_commit', 'default_storage_engine', 'read_only')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		m[name] = value
	}
	return m, rows.Err()
}

// checkClock compares this machine's clock with the database's, by which front ends agree: one whose
// clock is ahead keeps the others from publishing.
func checkClock(ctx context.Context, db *sql.DB) error {
	before := time.Now()
	var micros int64
	if err := db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)").Scan(&micros); err != nil {
		return err
	}
	after := time.Now()
	if off := time.UnixMicro(micros).Sub(before.Add(after.Sub(before) / 2)); off.Abs() > verify.MaxSkew+after.Sub(before) {
		return fmt.Errorf("its clock and this machine's differ by %s: want at most %s", off.Round(time.Second), verify.MaxSkew)
	}
	return nil
}
