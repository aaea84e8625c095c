package durable_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog/internal/durable"
)

// A disk is the model of a file system whose machine may lose power: bytes survive from their fsync
// on, names from the fsync of their folder on. Without it they may survive or not.
type disk struct {
	names, durableNames map[string]*inode // by path; a folder is a name without an inode
}

type inode struct{ bytes, durable string }

func (d *disk) made(t *testing.T, c durable.Call) {
	t.Helper()
	switch c.Op {
	case durable.OpWrite, durable.OpTruncate:
		b, err := os.ReadFile(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		if d.names[c.Path] == nil {
			d.names[c.Path] = new(inode)
		}
		d.names[c.Path].bytes = string(b)
	case durable.OpSync:
		d.names[c.Path].durable = d.names[c.Path].bytes
	case durable.OpLink:
		d.names[c.To] = d.names[c.Path]
	case durable.OpRename:
		d.names[c.To] = d.names[c.Path]
		delete(d.names, c.Path)
	case durable.OpRemove:
		delete(d.names, c.Path)
	case durable.OpMkdir:
		d.names[c.Path] = new(inode)
	case durable.OpSyncDir:
		maps.DeleteFunc(d.durableNames, func(p string, _ *inode) bool { return filepath.Dir(p) == c.Path })
		for p, n := range d.names {
			if filepath.Dir(p) == c.Path {
				d.durableNames[p] = n
			}
		}
	}
}

// after returns what a file may hold when the power is back: its name may be the durable one or the
// last one, and of bytes that were not synced nothing is left.
func (d *disk) after(path string) (states []string) {
	for _, names := range []map[string]*inode{d.durableNames, d.names} {
		n := names[path]
		for p := filepath.Dir(path); n != nil && p != filepath.Dir(p); p = filepath.Dir(p) {
			if _, made := d.names[p]; made && names[p] == nil {
				n = nil // a folder above it is lost
			}
		}
		if n == nil {
			states = append(states, "")
		} else {
			states = append(states, n.durable)
		}
	}
	return states
}

// play makes a change on the model, whose call number skip has no effect, and tells what a loss of
// power leaves at each step.
func (c *change) play(t *testing.T, skip int, look func(finished bool, states []string)) (calls []durable.Call) {
	t.Helper()
	path := c.setup(t)
	d := &disk{make(map[string]*inode), make(map[string]*inode)}
	if c.old != "" {
		n := &inode{c.old, c.old}
		d.names[path], d.durableNames[path] = n, n
	}
	err := c.do(durable.FS{Fault: func(call durable.Call, made bool) error {
		if made {
			if calls = append(calls, call); len(calls) != skip {
				d.made(t, call)
			}
			look(false, d.after(path))
		}
		return nil
	}}, path)
	if err != nil {
		t.Fatal(err)
	}
	look(true, d.after(path))
	return calls
}

// lost reports whether a loss of power can leave anything but the old file or the new, or the old
// one after the end.
func (c *change) lost(t *testing.T, skip int) (bad bool, calls []durable.Call) {
	t.Helper()
	calls = c.play(t, skip, func(finished bool, states []string) {
		for _, s := range states {
			if s != c.new && (finished || s != c.old) {
				bad = true
			}
		}
	})
	return bad, calls
}

// The machine stops after any call: the file is the old one or the new one. Once the function has
// returned it is the new one. Each fsync is needed for that: the model finds a loss when one is
// left out.
func TestPowerLossLeavesTheOldFileOrTheNew(t *testing.T) {
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			bad, calls := c.lost(t, 0)
			if bad {
				t.Errorf("a loss of power loses the file: %v", calls)
			}
			syncs := 0
			for i, call := range calls {
				if call.Op != durable.OpSync && call.Op != durable.OpSyncDir {
					continue
				}
				syncs++
				// MkdirAll begins with a call for a process that was stopped before.
				if bad, _ := c.lost(t, i+1); !bad && i > 0 {
					t.Errorf("the model does not see that call %d is missing: %v", i+1, call)
				}
			}
			if syncs == 0 {
				t.Error("nothing is synced")
			}
		})
	}
}
