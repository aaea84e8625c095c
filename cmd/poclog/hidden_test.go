package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/poclog/poclog/internal/sqlite"
)

// cmdHide has a running log leave out of its index what is claimed of a name, as its operator can
// with the log's own database: `hide DIR NAME`, where @FILE is the name in a file. The log then
// predicts, signs and serves the wrong root itself.
func cmdHide(ts *testscript.TestScript, _ bool, args []string) {
	name, in := strings.CutPrefix(args[1], "@")
	if in {
		name = ts.ReadFile(name)
	}
	// The schema is the log's: no step of it is made here.
	db, err := sqlite.Open(filepath.Join(ts.MkAbs(args[0]), "state", "index.db"), sqlite.Schema{""})
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Tx(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(fmt.Sprintf(`CREATE TRIGGER hide BEFORE INSERT ON pending WHEN NEW.name = '%s' BEGIN SELECT RAISE(IGNORE); END`, name))
		return err
	}))
}
