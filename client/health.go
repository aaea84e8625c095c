package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/poclog/poclog/internal/terminal"
)

// maxHealth is over what a log says of itself, in bytes.
const maxHealth = 1 << 18

// maxSaid bounds each text and their number.
const (
	maxSaidText = 300
	maxSaid     = 16
)

// A Health is what a log says of itself: nothing of it is proven. Its texts are printable lines.
type Health struct {
	Status   string   // "ok", "degraded" or "failing"
	Reasons  []string // why it does not publish, such as witnesses that do not answer
	Warnings []string // of what does not keep it from publishing
}

// Health asks a log how it is, once.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	in := call{method: http.MethodGet, path: "health"}
	resp, err := c.ask(ctx, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	// A log that is not well says so with status 503, and the same document.
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return nil, readProblem(in, resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxHealth))
	if err != nil {
		return nil, &transportError{fmt.Errorf("GET health: %w", err)}
	}
	var h Health
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("GET health: %w", err)
	}
	h.Status = terminal.Line(h.Status, maxSaidText)
	for _, list := range []*[]string{&h.Reasons, &h.Warnings} {
		*list = (*list)[:min(len(*list), maxSaid)]
		for i, s := range *list {
			(*list)[i] = terminal.Line(s, maxSaidText)
		}
	}
	return &h, nil
}
