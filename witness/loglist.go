package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxLogList     = 64 << 20 // bytes of a log list
	maxLogListLogs = 200_000
)

// A ListedLog is one entry of a log list.
type ListedLog struct {
	Origin  string // the name of the key unless the list says otherwise
	VKey    string
	QPD     string // expected queries per day, as written
	Contact string
}

// ParseLogList parses a log list of the witness network:
//
//	logs/v0
//
//	vkey example.com/behind-the-sofa+3a5e5a0b+AVv6q3xDaHxI2aTemqEb7W6ZcbO7QbTqTr20thOqfqsw
//	qpd 86400
//	contact https://example.com/contact
//
// Lines that start with # and empty lines are skipped, before the header too. Each vkey line begins
// an entry; keywords of an entry that are unknown are skipped. Keys are not checked: lists name
// kinds that one witness or another does not know.
func ParseLogList(list []byte) ([]ListedLog, error) {
	if len(list) > maxLogList {
		return nil, fmt.Errorf("log list of %d bytes: want at most %d", len(list), maxLogList)
	}
	var logs []ListedLog
	header := false
	number := 0
	for line := range strings.Lines(string(list)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !header:
			if line != "logs/v0" {
				return nil, fmt.Errorf("log list: line %d: %.60q: want the header logs/v0", number, line)
			}
			header = true
		default:
			var err error
			if logs, err = addListed(logs, line); err != nil {
				return nil, fmt.Errorf("log list: line %d: %w", number, err)
			}
		}
	}
	if !header {
		return nil, errors.New("log list: no header logs/v0")
	}
	return logs, nil
}

func addListed(logs []ListedLog, line string) ([]ListedLog, error) {
	key, value, _ := strings.Cut(line, " ")
	value = strings.TrimSpace(value)
	if key == "vkey" {
		name, _, ok := strings.Cut(value, "+")
		if !ok || name == "" {
			return nil, fmt.Errorf("vkey %.80q: want <name>+<hash>+<base64>", value)
		}
		if len(logs) == maxLogListLogs {
			return nil, fmt.Errorf("more than %d logs", maxLogListLogs)
		}
		return append(logs, ListedLog{Origin: name, VKey: value}), nil
	}
	if len(logs) == 0 {
		return nil, fmt.Errorf("%.40q before the first vkey", key)
	}
	l := &logs[len(logs)-1]
	switch key {
	case "origin":
		if value == "" {
			return nil, errors.New("an empty origin")
		}
		l.Origin = value
	case "qpd":
		l.QPD = value
	case "contact":
		l.Contact = value
	}
	return logs, nil
}

// A ListResult is what became of the logs of a list.
type ListResult struct {
	Added   []string // origins
	Known   int      // logs that were there with this key
	Skipped []string // one line each: the origin and why it was not added
}

// AddLogList makes the witness cosign the logs of a list. A list only adds logs: it never gives
// another key to a log that is there, for then whoever makes the list could speak for every log.
// Such entries and keys of unknown kinds are skipped and reported.
func (w *Witness) AddLogList(ctx context.Context, list []byte) (*ListResult, error) {
	logs, err := ParseLogList(list)
	if err != nil {
		return nil, err
	}
	var res ListResult
	for _, l := range logs {
		h, err := w.state.head(ctx, l.Origin)
		if err != nil && !errors.Is(err, errNoLog) {
			return &res, err
		}
		switch {
		case err == nil && slices.Contains(splitLines(h.vkeys), l.VKey):
			res.Known++
		case err == nil:
			res.Skipped = append(res.Skipped, fmt.Sprintf("%s: is there with another key", l.Origin))
		default:
			if _, err := w.addKeys(ctx, l.Origin, []string{l.VKey}); err != nil {
				res.Skipped = append(res.Skipped, oneLine(err))
				continue
			}
			res.Added = append(res.Added, l.Origin)
		}
	}
	return &res, nil
}
