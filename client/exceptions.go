package client

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/poclog/poclog"
)

// Exceptions fetches the auditors' notes of exceptions on a checkpoint's tree, for a receipt under
// it. Nobody is asked, and there is none, if no key for exceptions cosigned the checkpoint; nor is
// there if the log has published a newer tree meanwhile. Which of them count is the reader's
// policy's to say.
func (c *Client) Exceptions(ctx context.Context, under *Checkpoint) ([][]byte, error) {
	if !bytes.Contains(under.Signed, []byte(poclog.ExceptSuffix+" ")) {
		return nil, nil
	}
	b, err := c.get(ctx, "v1/exceptions", poclog.MaxNotes*(poclog.MaxExceptions+1))
	if StatusOf(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var notes [][]byte
	for line := range bytes.Lines(b) {
		file := bytes.TrimSuffix(line, []byte("\n"))
		e, err := poclog.ParseExceptions(file)
		if err != nil {
			return nil, fmt.Errorf("the log's exceptions: %w", err)
		}
		if e.Origin == under.Origin && e.Size == under.Size && e.Root == poclog.Digest(under.Root) {
			notes = append(notes, file)
		}
	}
	if len(notes) > poclog.MaxNotes {
		return nil, fmt.Errorf("the log's exceptions: %d notes: want at most %d", len(notes), poclog.MaxNotes)
	}
	return notes, nil
}
