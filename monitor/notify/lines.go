package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/poclog/poclog/monitor"
)

// Lines writes each alert as a line of JSON, silenced ones too: they are marked.
type Lines struct {
	name string
	w    io.Writer
	file *os.File // nil for a stream
}

// NewLines returns a sink that writes to a stream, such as standard output.
func NewLines(name string, w io.Writer) *Lines { return &Lines{name: name, w: w} }

// OpenLines returns a sink that appends to a file, which it makes, for its owner alone. A line that
// a killed process began is ended first.
func OpenLines(path string) (*Lines, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte{'\n'})
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("alerts: %w", err), f.Close())
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return &Lines{name: "lines:" + path, w: f, file: f}, nil
}

// Name tells files apart.
func (l *Lines) Name() string { return l.name }

// Silenced reports that silenced alerts are written, marked.
func (l *Lines) Silenced() bool { return true }

// Deliver writes a line, durably if it is a file's.
func (l *Lines) Deliver(_ context.Context, a *monitor.Alert) error {
	b, err := json.Marshal(a)
	if err != nil {
		return &RefusedError{Err: fmt.Errorf("encode alert %s: %w", a.ID, err)}
	}
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write alerts: %w", err)
	}
	if l.file == nil {
		return nil
	}
	// A pipe or a terminal has nothing to sync.
	if info, err := l.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return l.file.Sync()
}

// Close closes the file.
func (l *Lines) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
