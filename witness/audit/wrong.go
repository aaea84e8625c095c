package audit

import (
	"context"
	"path/filepath"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/wrongindex"
	"github.com/poclog/poclog/verify/dossier"
)

// dirContradictions holds the files that show what a log's index has wrong.
const dirContradictions = "contradictions"

// expose looks for the name that a wrong index has wrong, and keeps the file that shows it. It
// returns what was found, for the report, or nothing.
func (a *Auditor) expose(ctx context.Context, cl *client.Client, r *record, wrong *indexmap.WrongError) (said string) {
	m, err := a.index(r.origin)
	if err != nil || wrong.Right == (poclog.Digest{}) {
		return ""
	}
	file, found, err := wrongindex.Show(ctx, cl, m)
	if err != nil {
		a.cfg.Logger.Warn("what the wrong index says is not found out", "origin", r.origin, "error", err)
	}
	if found == nil {
		return ""
	}
	return a.keepWrong(r.origin, file, found)
}

// keepWrong keeps a file, and says what it shows.
func (a *Auditor) keepWrong(origin string, file []byte, found *dossier.Wrong) string {
	said := wrongindex.Say(found)
	dir := filepath.Join(a.dir, dirContradictions)
	path := filepath.Join(dir, poclog.Sum(file).String()[:16]+wrongindex.Suffix)
	err := durable.MkdirAll(dir, 0o755)
	if err == nil {
		err = durable.Replace(path, file, 0o644)
	}
	if err != nil {
		a.cfg.Logger.Error("the file that shows a wrong index is not kept", "origin", origin, "error", err)
		return said
	}
	return said + ", as " + path + " shows"
}
