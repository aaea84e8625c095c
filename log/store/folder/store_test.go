package folder_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/log/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Subject {
		dir := filepath.Join(t.TempDir(), "log")
		if err := folder.Make(dir); err != nil {
			t.Fatal(err)
		}
		s := storetest.Subject{
			Open:   func(*testing.T) *store.Store { return folder.Open(dir, folder.Options{Guard: dir + ".guard"}) },
			Damage: func(t *testing.T, d poclog.Digest, b []byte) { folder.Damage(t, dir, d, b) },
		}
		for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpChmod, durable.OpSync, durable.OpLink, durable.OpRename, durable.OpRemove, durable.OpClose, durable.OpSyncDir, durable.OpTruncate} {
			for _, made := range []bool{false, true} {
				name := string(op) + " fails"
				if made {
					name += " although it was made"
				}
				s.Faults = append(s.Faults, storetest.Fault{Name: name, Begin: func(_ *testing.T, st *store.Store) (end func()) {
					fault := func(c durable.Call, done bool) error {
						if c.Op == op && done == made {
							return errors.New("injected")
						}
						return nil
					}
					folder.Fault(st, fault)
					return func() { folder.Fault(st, nil) }
				}})
			}
		}
		return s
	})
}
