package log

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A roster is what is known of the witnesses and auditors of policy.txt: how each last answered,
// and how far its clock is off. It names those whom the log waits for.
type roster struct {
	policy *tlogpolicy.Policy
	logger *slog.Logger
	now    func() time.Time // the log's clock

	mu      sync.Mutex // guards what follows
	members []*member  // in the policy's order
}

// A member is a witness or auditor: what stands at one address, with one key or several.
type member struct {
	names   []string // the policy's
	url     string   // of add-checkpoint; "" if the policy gives none
	quorum  bool     // whether its cosignature can count for the quorum
	failing error    // why it did not cosign when it was last asked; nil while it does

	// off is how far the time of its last cosignature is ahead of the log's clock, or behind it if
	// negative; 0 within the time in which the log asked.
	off time.Duration
}

func (m *member) String() string {
	return fmt.Sprintf("%s (%s)", strings.Join(m.names, ", "), strings.TrimSuffix(m.url, "/add-checkpoint"))
}

func newRoster(p *tlogpolicy.Policy, logger *slog.Logger, now func() time.Time) *roster {
	r := &roster{policy: p, logger: logger, now: now}
	for _, w := range p.Witnesses() {
		address := addCheckpoint(w.URL)
		at := slices.IndexFunc(r.members, func(m *member) bool { return address != "" && m.url == address })
		if at < 0 {
			at = len(r.members)
			r.members = append(r.members, &member{url: address})
		}
		m := r.members[at]
		m.names, m.quorum = append(m.names, w.Name), m.quorum || p.Contains(p.Quorum(), w.Name)
	}
	return r
}

// addCheckpoint is the address of add-checkpoint below a witness's URL, or "" if there is none.
func addCheckpoint(base string) string {
	u, err := url.Parse(base)
	if base == "" || err != nil {
		return ""
	}
	return u.JoinPath("add-checkpoint").String()
}

// answered notes how the member at an address answered: nil is a cosignature.
func (r *roster) answered(address string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.url != address {
			continue
		}
		if err != nil && m.failing == nil {
			r.logger.Warn("no cosignature", "witness", m.String(), "error", err)
		} else if err == nil && m.failing != nil {
			r.logger.Info("cosignatures again", "witness", m.String())
		}
		m.failing = err
	}
}

// observe notes the clocks of those who cosigned a checkpoint that the log asked for between two
// times of its own clock.
func (r *roster) observe(v *tlogpolicy.View, from, to time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range v.Cosignatures {
		for _, m := range r.members {
			if !slices.Contains(m.names, c.Name) {
				continue
			}
			m.off = 0
			if c.Time.After(to) {
				m.off = c.Time.Sub(to)
			} else if from = from.Truncate(time.Second); c.Time.Before(from) {
				m.off = c.Time.Sub(from)
			}
		}
	}
}

// follow observes every published checkpoint, until the context ends.
func (r *roster) follow(ctx context.Context, p *publisher) {
	for {
		base, changed := p.base()
		r.published(base)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// published observes a checkpoint that was just published. The log's own signature says since when
// it asked; of one that was published before this process began, the witnesses' clocks cannot be
// behind its time either.
func (r *roster) published(checkpoint []byte) {
	v, err := r.policy.OpenLogged(checkpoint)
	if err != nil {
		return // nothing was published yet; what is published is the guard's care
	}
	now := r.now()
	from := v.Signed
	if from.IsZero() || from.After(now) {
		from = now.Add(-witnessTimeout)
	}
	r.observe(v, from, now)
}

// clocks is an error while so many of the quorum's clocks are off by more than the skew that
// receipts would have times at which clients refuse them. What the log judged now could not be
// proven later.
func (r *roster) clocks() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ahead, behind, all []string
	for _, m := range r.members {
		if m.off > verify.MaxSkew {
			ahead = append(ahead, m.names...)
		} else if m.off < -verify.MaxSkew {
			behind = append(behind, m.names...)
		} else {
			continue
		}
		if m.quorum {
			all = append(all, m.clock())
		}
	}
	if r.policy.Quorum() == tlogpolicy.None || !r.policy.Satisfied(r.policy.Quorum(), ahead...) && !r.policy.Satisfied(r.policy.Quorum(), behind...) {
		return nil
	}
	return fmt.Errorf("clocks differ by over %s, the log's or its witnesses': %s", verify.MaxSkew, strings.Join(all, ", "))
}

// clock says how far a member's clock is off.
func (m *member) clock() string {
	if m.off < 0 {
		return fmt.Sprintf("%s is %s behind", m, (-m.off).Truncate(time.Second))
	}
	return fmt.Sprintf("%s is %s ahead", m, m.off.Truncate(time.Second))
}

// lag is how far behind the log's clock the quorum's witnesses are that are within the skew.
func (r *roster) lag() (most time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.quorum && m.off < 0 && m.off >= -verify.MaxSkew {
			most = max(most, -m.off)
		}
	}
	return most
}

// waiting names those of the quorum who did not cosign when they were last asked, and why, for the
// end of an error; "" if there is nobody.
func (r *roster) waiting() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, m := range r.members {
		if text := fmt.Sprintf("%s: %v", m, m.failing); m.quorum && m.failing != nil {
			list = append(list, text)
		}
	}
	if len(list) == 0 {
		return ""
	}
	return ": waiting for " + strings.Join(list, "; ")
}

// warnings lists who does not cosign, and whose clock is off.
func (r *roster) warnings() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.failing != nil {
			list = append(list, fmt.Sprintf("no cosignature by %s: %v", m, m.failing))
		}
		if m.off.Abs() > verify.MaxSkew {
			list = append(list, "the clock of "+m.clock())
		}
	}
	return list
}

// Bounds of a witness's refusal: what is read of it, and what is told of it.
const (
	maxAnswer = 4096
	maxReason = 300
)

// RoundTrip asks a witness for Tessera, which tells nobody who did not answer.
func (r *roster) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := *req.URL
	asked.Fragment = ""
	resp, err := http.DefaultTransport.RoundTrip(req)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, err // the quorum was met without it
	case err != nil:
		r.answered(asked.String(), reason(err))
	case resp.StatusCode == http.StatusOK:
		r.answered(asked.String(), nil)
	case resp.StatusCode != http.StatusConflict: // which says the size that it has: it is asked again
		r.answered(asked.String(), refusedBy(resp))
	}
	return resp, err
}

// refusedBy is a witness's refusal in one line. The body can be read again.
func refusedBy(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), resp.Body), resp.Body}
	return fmt.Errorf("status %d: %s", resp.StatusCode, said(b))
}

// said is a refusal's text, or a problem document's detail, fit for messages: one line of printable
// ASCII.
func said(body []byte) string {
	text := string(body[:min(len(body), maxAnswer)])
	var p httpd.Problem
	if err := json.Unmarshal(body, &p); err == nil {
		text = p.Detail
	}
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }), " ")
	return text[:min(len(text), maxReason)]
}

// reason is an error of asking without the method and address, which the caller names.
func reason(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
