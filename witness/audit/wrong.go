package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/wrongindex"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/witness"
)

// dirContradictions holds the files that show what a log's index has wrong.
const dirContradictions = "contradictions"

// expose looks for the name that a wrong index has wrong, and keeps the file that shows it: one of
// each index entry, however often it is audited again. It returns what was found, for the report,
// or nothing.
func (a *Auditor) expose(ctx context.Context, cl *client.Client, r *record, wrong *indexmap.WrongError) (said string) {
	m, err := a.index(r.origin)
	if err != nil || wrong.Right == (poclog.Digest{}) {
		return ""
	}
	path := filepath.Join(a.dir, dirContradictions, fmt.Sprintf("%.16s-%d%s", witness.HashOf(r.origin), wrong.Entry, wrongindex.Suffix))
	if file, err := os.ReadFile(path); err == nil {
		if found, err := dossier.CheckIndexWrong(file, cl.Policy); err == nil {
			return wrongindex.Say(found) + ", as " + path + " shows"
		}
	}
	file, found, err := wrongindex.Show(ctx, cl, m)
	if err != nil {
		a.cfg.Logger.Warn("what the wrong index says is not found out", "origin", r.origin, "error", err)
	}
	if found == nil {
		return ""
	}
	said = wrongindex.Say(found)
	if err = durable.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = durable.Replace(path, file, 0o644)
	}
	if err != nil {
		a.cfg.Logger.Error("the file that shows a wrong index is not kept", "origin", r.origin, "error", err)
		return said
	}
	return said + ", as " + path + " shows"
}
