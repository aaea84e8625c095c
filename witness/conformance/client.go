package conformance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/pause"
	"golang.org/x/mod/sumdb/note"
)

// A request is an add-checkpoint request, in pieces that a check can spoil.
type request struct {
	old        int64
	proof      []string
	checkpoint string // with signatures
}

func (r request) body() string {
	b := fmt.Sprintf("old %d\n", r.old)
	for _, p := range r.proof {
		b += p + "\n"
	}
	return b + "\n" + r.checkpoint
}

// An answer is what the witness said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("status %d, %.200q", a.status, a.body) }

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func (s *suite) add(ctx context.Context, r request) (answer, error) { return s.post(ctx, r.body()) }

func (s *suite) post(ctx context.Context, body string) (answer, error) {
	return s.do(ctx, http.MethodPost, s.target.URL+"/add-checkpoint", body)
}

// maxWaits is how often the suite waits for a witness that limits its rate.
const maxWaits = 20

// do makes a request, and again as long as the answer is 429.
func (s *suite) do(ctx context.Context, method, url, body string) (answer, error) {
	for range maxWaits {
		a, err := s.once(ctx, method, url, body)
		if err != nil || a.status != http.StatusTooManyRequests {
			return a, err
		}
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil {
			seconds = 1
		}
		if err := pause.For(ctx, time.Duration(min(max(seconds, 1), 10))*time.Second); err != nil {
			return answer{}, err
		}
	}
	return answer{}, fmt.Errorf("%s %s: 429 %d times", method, url, maxWaits)
}

func (s *suite) once(ctx context.Context, method, url, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := s.target.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	return answer{resp.StatusCode, resp.Header, string(b)}, nil
}

// published asks the monitoring API for the latest checkpoint of an origin.
func (s *suite) published(ctx context.Context, origin string) (answer, error) {
	return s.do(ctx, http.MethodGet, s.target.Monitoring+"/"+poclog.Sum([]byte(origin)).String()+"/checkpoint", "")
}

// want checks the status of an answer.
func (a answer) want(statuses ...int) error {
	if slices.Contains(statuses, a.status) {
		return nil
	}
	return fmt.Errorf("%v: want status %v", a, statuses)
}

// conflict checks that an answer is 409 as it must be, and returns the size on record.
func (a answer) conflict() (int64, error) {
	if err := a.want(http.StatusConflict); err != nil {
		return 0, err
	}
	if kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil || kind != "text/x.tlog.size" {
		return 0, fmt.Errorf("409 with Content-Type %q: want text/x.tlog.size", a.header.Get("Content-Type"))
	}
	line, ok := strings.CutSuffix(a.body, "\n")
	size, err := strconv.ParseInt(line, 10, 64)
	if !ok || err != nil || size < 0 || strconv.FormatInt(size, 10) != line {
		return 0, fmt.Errorf("409 with body %.60q: want a decimal size and a newline", a.body)
	}
	return size, nil
}

// refused sends a request that must get one of the statuses, or any 4xx if none is given, and
// checks that the state of the witness has not changed.
func (s *suite) refused(ctx context.Context, body string, statuses ...int) error {
	a, err := s.post(ctx, body)
	if err != nil {
		return err
	}
	if len(statuses) > 0 {
		err = a.want(statuses...)
	} else if a.status < 400 || a.status > 499 {
		err = fmt.Errorf("%v: want 400 or another 4xx", a)
	}
	size, sizeErr := s.recorded(ctx)
	if sizeErr == nil && size != s.size {
		sizeErr = fmt.Errorf("the size on record went from %d to %d", s.size, size)
	}
	return errors.Join(err, sizeErr)
}

// accepted sends a request for a size of main that must be cosigned, and checks the cosignatures.
func (s *suite) accepted(ctx context.Context, r request) error {
	a, err := s.add(ctx, r)
	if err != nil {
		return err
	}
	if err := a.want(http.StatusOK); err != nil {
		return err
	}
	text, _, _ := strings.Cut(r.checkpoint, "\n\n")
	text += "\n"
	c, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return err
	}
	s.size, s.latest = c.N, text
	times, err := s.cosignatures(text, a.body)
	if err != nil {
		return err
	}
	for _, t := range times {
		if t < s.last {
			return fmt.Errorf("a timestamp of %d after one of %d", t, s.last)
		}
	}
	s.last = slices.Max(times)
	return nil
}

// cosignatures checks the body of a 200: signature lines only, one of each key of the witness, all
// verifying, with a time near ours.
func (s *suite) cosignatures(text, body string) (times []int64, err error) {
	if body == "" || !strings.HasSuffix(body, "\n") {
		return nil, fmt.Errorf("body %.60q: want signature lines, each with a newline", body)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "— ") {
			return nil, fmt.Errorf("line %.60q: want a signature line", line)
		}
	}
	n, err := note.Open([]byte(text+"\n"+body), note.VerifierList(s.verifiers()...))
	if err != nil {
		return nil, fmt.Errorf("the cosignatures: %w", err)
	}
	for _, v := range s.cosigners {
		i := slices.IndexFunc(n.Sigs, func(sig note.Signature) bool { return sig.Name == v.Name() && sig.Hash == v.KeyHash() })
		if _, ok := v.PublicKey().(ed25519.PublicKey); i < 0 && !ok && strings.Count(text, "\n") > 3 {
			continue // ML-DSA-44 does not cover extension lines: a witness may leave it out
		}
		if i < 0 {
			return nil, fmt.Errorf("no cosignature of %s+%08x", v.Name(), v.KeyHash())
		}
		t, err := torchwood.CosignatureTimestamp(n.Sigs[i])
		if err != nil {
			return nil, err
		}
		if d := time.Since(time.Unix(t, 0)).Abs(); d > 5*time.Minute {
			return nil, fmt.Errorf("cosignature of %s+%08x: timestamp %d is %v from our clock", v.Name(), v.KeyHash(), t, d.Round(time.Second))
		}
		times = append(times, t)
	}
	if len(times) == 0 {
		return nil, errors.New("no cosignature of a key that was given")
	}
	return times, nil
}

func (s *suite) verifiers() []note.Verifier {
	var list []note.Verifier
	for _, v := range s.cosigners {
		list = append(list, cosigner{v})
	}
	return list
}

// A cosigner verifies what the specification says is signed: ML-DSA-44 signs the first three lines
// of a checkpoint only. (Torchwood refuses checkpoints with more.)
type cosigner struct{ *torchwood.CosignatureVerifier }

func (v cosigner) Verify(msg, sig []byte) bool {
	if _, ok := v.PublicKey().(ed25519.PublicKey); !ok {
		lines := bytes.SplitAfterN(msg, []byte("\n"), 4)
		msg = bytes.Join(lines[:min(3, len(lines))], nil)
	}
	return v.CosignatureVerifier.Verify(msg, sig)
}

// sign signs a checkpoint text with every key of the log.
func (s *suite) sign(text string) string { return signNote(text, s.keys...) }

// signNote makes a signed note. It signs also texts that are no checkpoints, which the log's own
// signers may refuse: such a check is made with an Ed25519 key only.
func signNote(text string, signers ...note.Signer) string {
	b := text + "\n"
	for _, k := range signers {
		if line, err := signatureLine(text, k); err == nil {
			b += line
		}
	}
	return b
}

func signatureLine(text string, k note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: text}, k)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(string(signed), text+"\n"), nil
}
