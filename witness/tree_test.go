package witness_test

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A tree is a log's tree in memory, of leaves that its name determines.
type tree struct {
	t      testing.TB
	name   string
	hashes []tlog.Hash
}

func newTree(t testing.TB, name string, size int64) *tree {
	t.Helper()
	tr := &tree{t: t, name: name}
	for i := range size {
		h, err := tlog.StoredHashes(i, fmt.Appendf(nil, "%s %d", name, i), tr)
		if err != nil {
			t.Fatal(err)
		}
		tr.hashes = append(tr.hashes, h...)
	}
	return tr
}

func (tr *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var list []tlog.Hash
	for _, i := range indexes {
		list = append(list, tr.hashes[i])
	}
	return list, nil
}

func (tr *tree) root(size int64) tlog.Hash {
	h, err := tlog.TreeHash(size, tr)
	if err != nil {
		tr.t.Error(err)
	}
	return h
}

func (tr *tree) text(origin string, size int64) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, tr.root(size))
}

func (tr *tree) checkpoint(size int64, keys ...logKey) string {
	var signers []note.Signer
	for _, k := range keys {
		signers = append(signers, k.Signer)
	}
	signed, err := note.Sign(&note.Note{Text: tr.text(keys[0].Name(), size)}, signers...)
	if err != nil {
		tr.t.Error(err)
	}
	return string(signed)
}

// request is the add-checkpoint body from one size to another.
func (tr *tree) request(from, to int64, keys ...logKey) string {
	body := fmt.Sprintf("old %d\n", from)
	if from > 0 && from < to {
		p, err := tlog.ProveTree(to, from, tr)
		if err != nil {
			tr.t.Error(err)
		}
		for _, h := range p {
			body += h.String() + "\n"
		}
	}
	return body + "\n" + tr.checkpoint(to, keys...)
}
