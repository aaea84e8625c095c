package log

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A line whose statements the index does not know whole stays: its history could not be read again.
// So does one that somebody uses.
func TestOnlyLinesThatTheIndexKnowsAreForgotten(t *testing.T) {
	key := func(name string) registry.Line { return registry.Line{Registrar: name} }
	x := &statements{lines: map[registry.Line]*line{
		key("known"):           {history: new(registry.History), newest: 6},
		key("next"):            {history: new(registry.History), newest: 7},
		key("later"):           {history: new(registry.History), newest: 9},
		key("not read"):        {newest: 9},
		key("used"):            {users: 1, history: new(registry.History), newest: 6},
		key("used, not read"):  {users: 1},
		key("used, and later"): {users: 2, history: new(registry.History), newest: 9},
	}}
	x.forget(7)
	var left []string
	for key := range maps.Keys(x.lines) {
		left = append(left, key.Registrar)
	}
	slices.Sort(left)
	if want := []string{"later", "next", "used", "used, and later", "used, not read"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}

// sized is a tree of which only the size can be read.
type sized struct {
	store.Tiles
	size uint64
	err  error
}

func (s *sized) State(context.Context) (store.TreeState, error) {
	return store.TreeState{Size: s.size}, s.err
}

// What became of a statement may be uncertain. Its line is then read from the entries again, from
// all that the tree has by then: what is remembered may lack it, and its serial be given twice.
func TestALineOfAnUncertainStatementIsReadAgain(t *testing.T) {
	a := endorser.NewRegistrar("lines", "Alliance", 1)
	e := &poclog.StatementEntry{Envelope: *a.State(poclog.Statement{Type: poclog.Freeze, Origin: "log.test", Registrar: "lines", Text: "x", Subject: "intel:tdx:ppid:00000000000000000000000000000001", Serial: 1}, 1)}
	disk := &sized{size: 9}
	x := &statements{svc: &Service{tree: &tree{Reader: store.Reader{Tiles: disk}}}, need: 3}
	settled := func(err error) *line {
		l := &line{turn: make(chan struct{}, 1), users: 1, history: new(registry.History), sent: map[poclog.Digest]uint64{}}
		x.settled(l, e, 5, err)
		if len(l.turn) != 1 || l.users != 0 {
			t.Errorf("after %v the line is not given back", err)
		}
		return l
	}
	needed := func(want uint64) {
		t.Helper()
		if got, err := x.needed(t.Context()); (err != nil) != (disk.err != nil) || got != want {
			t.Errorf("entries below %d are needed, %v: want %d", got, err, want)
		}
	}
	if l := settled(nil); l.history == nil || l.newest != 5 || len(l.sent) != 1 {
		t.Error("a statement that is in the tree is not remembered")
	}
	needed(3)
	if l := settled(errGone); l.history != nil {
		t.Error("a line is remembered though a statement of it is uncertain")
	}
	disk.err = errors.New("the disk is gone")
	needed(0)
	disk.err = nil
	needed(9)
	disk.size = 8 // read once for each doubt
	needed(9)
	settled(errGone)
	disk.size = 12
	needed(12)
	disk.size = 20
	needed(12)
}
