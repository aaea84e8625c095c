package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/poclog/poclog/internal/terminal"
)

const maxProblem = 1 << 16

// A Problem is a log's refusal: an RFC 9457 problem document, or what can be said of an answer that
// is none. Its texts are the log's words, cut to one printable line.
type Problem struct {
	Status     int           // HTTP status
	Type       string        // URI reference of the kind of problem; "" if the log gave none
	Check      string        // the verify.Check that refused; "" where none did
	Detail     string        // why
	RetryAfter time.Duration // how long the log asks to wait; 0 if it does not
}

// Error gives the status, the check and the reason.
func (p *Problem) Error() string {
	s := fmt.Sprintf("the log answers %d %s", p.Status, http.StatusText(p.Status))
	if p.Check != "" {
		s += ": " + p.Check
	}
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// Temporary reports whether the same request may be answered otherwise later.
func (p *Problem) Temporary() bool {
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout || p.Status >= 500
}

// StatusOf returns the HTTP status of a [*Problem] in err, or 0.
func StatusOf(err error) int {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status
	}
	return 0
}

func readProblem(in call, resp *http.Response) *Problem {
	p := &Problem{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var doc struct{ Type, Title, Detail, Check string }
	if err != nil || media != "application/problem+json" || json.Unmarshal(b, &doc) != nil {
		p.Detail = in.method + " /" + in.path
		return p
	}
	p.Type, p.Check, p.Detail = terminal.Line(doc.Type, 200), terminal.Line(doc.Check, 40), terminal.Line(doc.Detail, 1000)
	if p.Detail == "" {
		p.Detail = terminal.Line(doc.Title, 200)
	}
	return p
}
