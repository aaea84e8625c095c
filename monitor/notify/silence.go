package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/monitor"
)

// Limits of a silence list.
const (
	silencesFile = "silences.json"
	maxSilences  = 4096
	maxSilence   = 2 << 20 // bytes of the file
	maxReason    = 512     // bytes
	// MaxSilenced is how long a silence may last: somebody should look again at least once a year.
	MaxSilenced = 366 * 24 * time.Hour
)

// A Silence says which alerts nobody is to be told of, until when, and why. An alert must match all
// that is given of Alert, Rule and Subject.
type Silence struct {
	ID      string    `json:"id"`
	Alert   string    `json:"alert,omitempty"`   // an alert's id
	Rule    string    `json:"rule,omitempty"`    // a rule's id
	Subject string    `json:"subject,omitempty"` // what the alert is about
	Reason  string    `json:"reason"`
	Added   time.Time `json:"added"`
	Until   time.Time `json:"until"`
}

// check refuses a silence that says too little, or hides too much.
func (s *Silence) check() error {
	switch {
	case s.Alert == "" && s.Rule == "" && s.Subject == "":
		return errors.New("silence: say what: an alert, a rule or a subject")
	case s.Reason == "" || len(s.Reason) > maxReason:
		return fmt.Errorf("silence: reason of %d bytes: want 1 to %d", len(s.Reason), maxReason)
	case !s.Added.Before(s.Until) || s.Until.Sub(s.Added) > MaxSilenced:
		return fmt.Errorf("silence from %s until %s: want an end, within %s", s.Added.Format(time.RFC3339), s.Until.Format(time.RFC3339), MaxSilenced)
	}
	return nil
}

// Matches reports whether an alert is silenced at a time. A rule alone silences no contradiction:
// each is about somebody else.
func (s *Silence) Matches(a *monitor.Alert, at time.Time) bool {
	if at.Before(s.Added) || !at.Before(s.Until) {
		return false
	}
	if s.Alert == "" && s.Subject == "" && a.Severity == "contradiction" {
		return false
	}
	return (s.Alert == "" || s.Alert == a.ID) && (s.Rule == "" || s.Rule == a.Rule) && (s.Subject == "" || s.Subject == string(a.Subject))
}

// why is the mark of an alert that the silence covers.
func (s *Silence) why() string {
	return fmt.Sprintf("%s (silence %s until %s)", s.Reason, s.ID, s.Until.UTC().Format(time.RFC3339))
}

// Silences is the silence list of a monitor's folder: a file that people can read, and that a tool
// of theirs can write.
type Silences struct{ path string }

// SilencesIn returns the list of a folder.
func SilencesIn(dir string) *Silences { return &Silences{filepath.Join(dir, silencesFile)} }

// silenceFile is the file's JSON.
type silenceFile struct {
	V        int       `json:"v"`
	Silences []Silence `json:"silences"`
}

// List returns the list, expired ones too, in the order in which they were added. A folder without
// a file has none.
func (l *Silences) List() ([]Silence, error) {
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxSilence {
		err = fmt.Errorf("%d bytes: want at most %d", info.Size(), maxSilence)
	}
	if err != nil {
		return nil, fmt.Errorf("silence list: %w", err)
	}
	b, err := os.ReadFile(l.path)
	if err != nil {
		return nil, fmt.Errorf("silence list: %w", err)
	}
	var f silenceFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("silence list %s: %w", l.path, err)
	}
	if f.V != 1 || len(f.Silences) > maxSilences {
		return nil, fmt.Errorf("silence list %s: version %d with %d silences: want version 1 and at most %d", l.path, f.V, len(f.Silences), maxSilences)
	}
	for i := range f.Silences {
		if err := f.Silences[i].check(); err != nil {
			return nil, fmt.Errorf("silence list %s: number %d: %w", l.path, i+1, err)
		}
	}
	return f.Silences, nil
}

// Add puts a silence on the list and returns it with its id.
func (l *Silences) Add(s Silence) (Silence, error) {
	s.Added, s.Until = s.Added.UTC().Truncate(time.Second), s.Until.UTC().Truncate(time.Second)
	if err := s.check(); err != nil {
		return s, err
	}
	list, err := l.List()
	if err != nil {
		return s, err
	}
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	s.ID = hex.EncodeToString(id)
	return s, l.write(append(list, s))
}

// Remove takes a silence off the list.
func (l *Silences) Remove(id string) error {
	list, err := l.List()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(s Silence) bool { return s.ID == id })
	if at < 0 {
		return fmt.Errorf("silence %.40q: there is none", id)
	}
	return l.write(slices.Delete(list, at, at+1))
}

// write replaces the file, which after a crash is the old or the new one.
func (l *Silences) write(list []Silence) error {
	b, err := json.MarshalIndent(silenceFile{1, list}, "", "  ")
	if err != nil {
		return fmt.Errorf("silence list: %w", err)
	}
	if err := durable.Replace(l.path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("silence list: %w", err)
	}
	return nil
}

// Why returns the reason why nobody is to be told of an alert at a time, or "".
func (l *Silences) Why(a *monitor.Alert, at time.Time) (string, error) {
	list, err := l.List()
	if err != nil {
		return "", err
	}
	return why(list, a, at), nil
}

func why(list []Silence, a *monitor.Alert, at time.Time) string {
	for i := range list {
		if list[i].Matches(a, at) {
			return list[i].why()
		}
	}
	return ""
}

// Silencer is what a [monitor.Config] asks. With a list that cannot be read nothing is silenced.
func (l *Silences) Silencer(clock func() time.Time, logger *slog.Logger) func(*monitor.Alert) string {
	return func(a *monitor.Alert) string {
		reason, err := l.Why(a, clock())
		if err != nil {
			logger.Warn("nothing is silenced", "error", err)
		}
		return reason
	}
}

// Active names the silences that cover anything at a time: while it stays the same,
// [Silences.Apply] has nothing to change.
func (l *Silences) Active(at time.Time) (string, error) {
	list, err := l.List()
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(s Silence) bool { return at.Before(s.Added) || !at.Before(s.Until) })
	return fmt.Sprint(list), nil
}

// Marker marks alerts as silenced: a [monitor.Monitor].
type Marker interface {
	Alerts(ctx context.Context, f monitor.AlertFilter) iter.Seq2[*monitor.Alert, error]
	Silence(ctx context.Context, id, why string) error
}

// Apply brings the marks of all kept alerts up to date, and says how many changed: a new silence
// covers what was found before, and what an expired or removed one covered is told after all.
func (l *Silences) Apply(ctx context.Context, m Marker, at time.Time) (changed int, err error) {
	list, err := l.List()
	if err != nil {
		return 0, err
	}
	marks := make(map[string]string)
	for a, err := range m.Alerts(ctx, monitor.AlertFilter{}) {
		if err != nil {
			return 0, err
		}
		if w := why(list, a, at); w != a.Silenced {
			marks[a.ID] = w
		}
	}
	for id, w := range marks {
		if err := m.Silence(ctx, id, w); err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}
