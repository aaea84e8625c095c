package attest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/publish/disclose"
)

// A publisher is a Series over a folder, with what it was asked and what it sent.
type publisher struct {
	Series
	t      *testing.T
	dir    string
	at     time.Time
	sent   []string
	signed int
	asked  []bool // found?
	events []Event
	answer error // to every question
	log    func(bundle string) error
}

func (p *publisher) Submit(_ context.Context, s *poclog.Submission) (*client.Submitted, error) {
	b := string(s.Bundle)
	if p.log != nil {
		if err := p.log(b); err != nil {
			return nil, err
		}
	}
	p.sent = append(p.sent, b)
	return &client.Submitted{Receipt: []byte("receipt of " + b), New: true}, nil
}

// newPublisher begins a process over a folder; an empty one makes it.
func newPublisher(t *testing.T, dir string, terms Terms) *publisher {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	st, err := OpenState(dir, "https://log.test")
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{t: t, dir: dir, at: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	made := 0
	p.Series = Series{
		State: st, Log: p, Every: 10 * time.Minute, Terms: terms, Now: func() time.Time { return p.at },
		UserData: func() (poclog.Digest, error) { return poclog.Sum(nil), nil },
		Make: func(context.Context, poclog.Digest) ([]byte, error) {
			made++
			return fmt.Appendf(nil, "%s/%d", p.at.Format(time.RFC3339), made), nil
		},
		Submission: func(b []byte) (*poclog.Submission, error) {
			if len(terms.Keys) > 0 {
				p.signed++
			}
			return &poclog.Submission{Bundle: b}, nil
		},
		Discloses: func([]byte) ([]disclose.Fact, error) { return []disclose.Fact{{Name: "chip", Value: "1"}}, nil },
		Ask: func(_ context.Context, list []disclose.Fact, found bool) error {
			p.asked = append(p.asked, found)
			return p.answer
		},
		Tell: func(e Event) { p.events = append(p.events, e) },
	}
	return p
}

// end ends the process.
func (p *publisher) end() {
	p.t.Helper()
	if err := p.State.Close(); err != nil {
		p.t.Error(err)
	}
}

func (p *publisher) once() {
	p.t.Helper()
	if err := p.step(p.t.Context(), p.window(p.at)); err != nil {
		p.t.Error(err)
	}
}

// interrupted is a folder in which a process left a bundle that was agreed to.
func interrupted(t *testing.T, terms Terms) (dir, name string) {
	t.Helper()
	p := newPublisher(t, "", terms)
	p.log = func(string) error { return errors.New("the network is down") }
	if err := p.step(t.Context(), p.window(p.at)); err == nil {
		t.Fatal("sent")
	}
	p.end()
	names, err := filepath.Glob(filepath.Join(p.dir, "*"+bundleSuffix))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v: %v", names, err)
	}
	return p.dir, strings.TrimSuffix(filepath.Base(names[0]), bundleSuffix)
}

func (p *publisher) wantAside(why string) {
	p.t.Helper()
	told := slices.ContainsFunc(p.events, func(e Event) bool { return e.Err != nil && strings.Contains(e.Err.Error(), why) })
	if _, err := os.Stat(filepath.Join(p.dir, refusedFile)); err != nil || !told {
		p.t.Errorf("nothing was put aside because %q: %v, %d events", why, err, len(p.events))
	}
}

func TestWhatWasAgreedToIsFinishedUnasked(t *testing.T) {
	terms := Terms{Origin: "log.test/1", Keys: []poclog.Digest{poclog.Sum([]byte("a"))}}
	dir, _ := interrupted(t, terms)
	p := newPublisher(t, dir, terms)
	defer p.end()
	p.answer = errors.New("no")
	p.once()
	if len(p.sent) != 1 || len(p.asked) != 0 || p.signed != 1 {
		t.Errorf("sent %q, signed %d, asked %v", p.sent, p.signed, p.asked)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(left) != 1 || filepath.Base(left[0]) != stateFile {
		t.Errorf("left over: %v", left)
	}
}

// A bundle that was agreed to with one key is not signed with another, nor sent without or to
// another log.
func TestABundleIsBoundToItsTerms(t *testing.T) {
	begun := Terms{Origin: "log.test/1", Keys: []poclog.Digest{poclog.Sum([]byte("a"))}}
	for name, now := range map[string]Terms{
		"another key":    {Origin: begun.Origin, Keys: []poclog.Digest{poclog.Sum([]byte("b"))}},
		"one key more":   {Origin: begun.Origin, Keys: append(slices.Clone(begun.Keys), poclog.Sum([]byte("b")))},
		"no key":         {Origin: begun.Origin},
		"another origin": {Origin: "log.test/2", Keys: begun.Keys},
	} {
		t.Run(name, func(t *testing.T) {
			dir, stem := interrupted(t, begun)
			old, err := os.ReadFile(filepath.Join(dir, stem+bundleSuffix))
			if err != nil {
				t.Fatal(err)
			}
			p := newPublisher(t, dir, now)
			defer p.end()
			p.Make = func(context.Context, poclog.Digest) ([]byte, error) { return []byte("new"), nil }
			p.once()
			if slices.Contains(p.sent, string(old)) || !slices.Equal(p.sent, []string{"new"}) {
				t.Errorf("sent %q", p.sent)
			}
			p.wantAside("put aside unsent")
		})
	}
}

// A stranger's bundle in the folder is neither signed nor published unasked, whatever stands beside
// it.
func TestAFoundBundleIsNotPublishedUnasked(t *testing.T) {
	dir, stem := interrupted(t, Terms{})
	record, err := os.ReadFile(filepath.Join(dir, stem+consentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	keys := []poclog.Digest{poclog.Sum([]byte("a"))}
	for name, c := range map[string]struct {
		record []byte
		keys   []poclog.Digest
		answer error
		sent   bool
	}{
		"nothing beside it":           {nil, nil, errors.New("no"), false},
		"the record of another":       {record, nil, errors.New("no"), false},
		"a malformed record":          {[]byte("{}"), nil, errors.New("no"), false},
		"agreed to":                   {nil, nil, nil, true},
		"agreed to, but keys sign":    {nil, keys, nil, false},
		"keys sign, another's record": {record, keys, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, stem+bundleSuffix), []byte("a stranger's"), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.record != nil {
				if err := os.WriteFile(filepath.Join(dir, stem+consentSuffix), c.record, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := newPublisher(t, dir, Terms{Keys: c.keys})
			defer p.end()
			p.answer = c.answer
			p.Ask = func(_ context.Context, _ []disclose.Fact, found bool) error {
				if !found {
					return nil
				}
				p.asked = append(p.asked, found)
				return p.answer
			}
			p.at = p.at.Add(20 * time.Minute)
			p.once()
			if got := slices.Contains(p.sent, "a stranger's"); got != c.sent {
				t.Errorf("sent %q", p.sent)
			}
			if c.sent != (len(p.sent) == 2) || len(p.asked) != map[bool]int{true: 1, false: 0}[c.keys == nil] {
				t.Errorf("sent %q, asked %v", p.sent, p.asked)
			}
			if !c.sent {
				p.wantAside("no record that its publication was agreed to")
			}
		})
	}
}

func TestNothingIsSentFromAMachineThatCannotQuote(t *testing.T) {
	dir, _ := interrupted(t, Terms{})
	p := newPublisher(t, dir, Terms{})
	defer p.end()
	missing := &MissingError{PieceTEE, errors.New("no TEE"), "rent one"}
	p.Ready = func(context.Context) error { return missing }
	if err := p.Run(t.Context()); !errors.Is(err, missing) || len(p.sent) > 0 {
		t.Errorf("%v: sent %q", err, p.sent)
	}
	m := new(Machine)
	if err := m.Present(new(Options)); !errors.As(err, new(*MissingError)) {
		t.Errorf("a machine without a TEE: %v", err)
	}
}

// Consent is for what was shown. Where a bundle discloses more, the publisher is asked again; one
// who does not agree ends the service.
func TestConsentIsForWhatWasShown(t *testing.T) {
	dir, _ := interrupted(t, Terms{})
	p := newPublisher(t, dir, Terms{})
	defer p.end()
	value := "a label that was not there"
	p.Discloses = func([]byte) ([]disclose.Fact, error) { return []disclose.Fact{{Name: "label", Value: value}}, nil }
	p.once()
	p.at = p.at.Add(10 * time.Minute)
	p.once()
	if !slices.Equal(p.asked, []bool{false}) || len(p.sent) != 2 {
		t.Errorf("asked %v, sent %q", p.asked, p.sent)
	}
	value, p.answer, p.at = "another label", errors.New("not published"), p.at.Add(10*time.Minute)
	if err := p.Run(t.Context()); !errors.As(err, new(*DeclinedError)) || len(p.sent) != 2 {
		t.Errorf("%v: sent %q", err, p.sent)
	}
}

// A bundle that never gets a verdict is sent again beside the windows after it, which have their
// proofs, until its challenge is too old.
func TestOneBundleWithoutAVerdictDoesNotEndTheSeries(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnavailableForLegalReasons, http.StatusInternalServerError} {
		p := newPublisher(t, "", Terms{})
		p.Every = time.Hour
		poisoned, tries := "", 0
		p.log = func(b string) error {
			if poisoned == "" && len(p.sent) == 2 {
				poisoned = b
			}
			if b == poisoned {
				tries++
				return &client.Problem{Status: status}
			}
			return nil
		}
		end := p.at.Add(28 * time.Hour)
		p.Wait = func(ctx context.Context, d time.Duration) error {
			if p.at = p.at.Add(d); p.at.After(end) {
				return context.Canceled
			}
			return nil
		}
		if err := p.Run(t.Context()); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if want := 28 - 1; len(p.sent) < want {
			t.Errorf("%d: %d proofs: want %d", status, len(p.sent), want)
		}
		if tries < 24 || tries > 120 {
			t.Errorf("%d: it was sent %d times in a day", status, tries)
		}
		p.wantAside("too old by now")
		missed := 0
		for _, e := range p.events {
			missed += e.Missed
		}
		if missed != 1 {
			t.Errorf("%d: %d windows missed: want the one", status, missed)
		}
		p.end()
	}
}

// Others that wait behind one without a verdict are finished in the same step.
func TestABundleWithoutAVerdictDoesNotHoldUpOthers(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		p := newPublisher(t, dir, Terms{})
		p.at = p.at.Add(time.Duration(len(files(t, dir, "*"+bundleSuffix))) * p.Every)
		p.log = func(string) error { return errors.New("down") }
		_ = p.step(t.Context(), p.window(p.at)) // that it fails is what is wanted
		p.end()
	}
	if n := len(files(t, dir, "*"+bundleSuffix)); n != 3 {
		t.Fatalf("%d bundles", n)
	}
	p := newPublisher(t, dir, Terms{})
	defer p.end()
	p.at = p.at.Add(30 * time.Minute)
	first := ""
	p.log = func(b string) error {
		if first == "" {
			first = b
		}
		if b == first {
			return &client.Problem{Status: http.StatusForbidden}
		}
		return nil
	}
	p.once()
	if len(p.sent) != 3 || slices.Contains(p.sent, first) || len(files(t, dir, "*"+bundleSuffix)) != 1 {
		t.Errorf("sent %q of %q and others, left %v", p.sent, first, files(t, dir, "*"+bundleSuffix))
	}
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A clock that ran ahead for a while leaves a receipt of the future: it hides no gap, and does not
// push newer receipts out.
func TestAClockThatRanAheadHidesNoGap(t *testing.T) {
	p := newPublisher(t, "", Terms{})
	defer p.end()
	p.Keep = 2
	now := p.at
	for _, at := range []time.Time{now.AddDate(10, 0, 0), now, now.Add(p.Every), now.Add(5 * p.Every)} {
		p.at = at
		p.once()
	}
	if last := p.events[len(p.events)-1]; last.Missed != 3 {
		t.Errorf("%d missed: want 3", last.Missed)
	}
	for _, path := range files(t, p.dir, "2*"+receiptSuffix) {
		if w, _ := windowOf(strings.TrimSuffix(filepath.Base(path), receiptSuffix)); w.After(now.AddDate(1, 0, 0)) {
			t.Errorf("%s is kept in the place of a newer one", path)
		}
	}
}

func TestStateOfOthersIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for name, spoil := range map[string]func() error{
		"a folder that others can write": func() error { return os.Chmod(dir, 0o777) },
		"a bundle that others can write": func() error {
			path := filepath.Join(dir, stem(time.Now(), poclog.Digest{})+bundleSuffix)
			return errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chmod(path, 0o666))
		},
		"a link in a bundle's place": func() error {
			return os.Symlink(stateFile, filepath.Join(dir, stem(time.Now(), poclog.Digest{})+bundleSuffix))
		},
		"a state that others can write": func() error {
			path := filepath.Join(dir, stateFile)
			return errors.Join(os.WriteFile(path, []byte(`{"v":1,"log":"x","seed":1}`), 0o600), os.Chmod(path, 0o660))
		},
	} {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), spoil()); err != nil {
			t.Fatal(err)
		}
		if st, err := OpenState(dir, "x"); err == nil {
			t.Errorf("%s is taken", name)
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
