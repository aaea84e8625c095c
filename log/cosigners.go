package log

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Bounds of asking cosigners beyond the quorum.
const (
	cosignTimeout  = 30 * time.Second // an auditor takes its time
	cosignPause    = 5 * time.Second  // after a failure
	maxCosignReply = 1 << 16
)

// A cosigner is a witness or auditor of the policy whose cosignature nothing waits for: it is added
// to the published checkpoint when it comes.
type cosigner struct {
	url    string // of add-checkpoint
	names  []string
	policy *tlogpolicy.Policy
	reader treeReader
	http   *http.Client
	roster *roster
	merge  func(ctx context.Context, base []byte, lines [][]byte) error // so that the log's other front ends have them

	size uint64 // of the checkpoint that it cosigned last, as far as is known
}

// cosigners returns those of the policy that have an address and are not of the quorum, one for
// each address.
func cosigners(roster *roster, kept *store.Store, r treeReader) []*cosigner {
	var list []*cosigner
	p, merge := roster.policy, kept.Cosign
	if merge == nil {
		merge = func(context.Context, []byte, [][]byte) error { return nil }
	}
	for _, w := range p.Witnesses() {
		address := addCheckpoint(w.URL)
		if address == "" || p.Contains(p.Quorum(), w.Name) {
			continue
		}
		at := slices.IndexFunc(list, func(c *cosigner) bool { return c.url == address })
		if at < 0 {
			list = append(list, &cosigner{url: address, policy: p, reader: r, roster: roster, merge: merge, http: &http.Client{Timeout: cosignTimeout}})
			at = len(list) - 1
		}
		list[at].names = append(list[at].names, w.Name)
	}
	return list
}

// follow asks for every published checkpoint, until the context ends. What failed is asked again.
func (c *cosigner) follow(ctx context.Context, p *publisher) {
	var done []byte
	for {
		base, changed := p.base()
		pause := time.Hour
		if len(base) > 0 && !bytes.Equal(base, done) {
			lines := c.among(base)
			var err error
			if len(lines) == 0 {
				lines, err = c.ask(ctx, base)
				if ctx.Err() == nil {
					c.roster.answered(c.url, err)
				}
			}
			if err == nil {
				p.augment(base, lines)
				err = c.merge(ctx, base, lines)
			}
			if pause = cosignPause; err == nil {
				if err := c.takeNote(ctx, base, lines, p); err != nil {
					c.roster.logger.Warn("no note of exceptions", "auditor", strings.Join(c.names, ", "), "error", err)
				}
				done, pause = base, time.Hour
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(pause):
		}
	}
}

// among returns the lines of this cosigner's keys that a checkpoint has: another front end asked.
func (c *cosigner) among(base []byte) (lines [][]byte) {
	_, sigs, _ := bytes.Cut(base, []byte("\n\n"))
	for line := range bytes.Lines(sigs) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(string(line), "— "), " "); ok && slices.Contains(c.names, name) {
			lines = append(lines, line)
		}
	}
	return lines
}

// ask sends a checkpoint and returns the cosignature lines that the policy knows.
func (c *cosigner) ask(ctx context.Context, base []byte) ([][]byte, error) {
	view, err := c.policy.OpenLogged(base)
	if err != nil {
		return nil, err
	}
	for range 3 { // the size that it has may be told, and may change meanwhile
		asked := c.roster.now()
		reply, known, err := c.post(ctx, ownSignatures(base, view.Origin), view.Size)
		if err != nil {
			return nil, reason(err)
		}
		if reply != nil {
			c.size = view.Size
			return c.pick(base, reply, asked)
		}
		if known > view.Size {
			return nil, fmt.Errorf("it has size %d, and %d is published", known, view.Size)
		}
		c.size = known
	}
	return nil, errors.New("it tells another size each time")
}

// ownSignatures cuts others' signatures off a checkpoint: witnesses limit what they read.
func ownSignatures(signed []byte, origin string) []byte {
	text, sigs, _ := bytes.Cut(signed, []byte("\n\n"))
	out := append(bytes.Clone(text), "\n\n"...)
	for line := range bytes.Lines(sigs) {
		if bytes.HasPrefix(line, []byte("— "+origin+" ")) {
			out = append(out, line...)
		}
	}
	return out
}

// post makes one add-checkpoint request (https://c2sp.org/tlog-witness). A nil reply without error
// says which size the cosigner has.
func (c *cosigner) post(ctx context.Context, checkpoint []byte, size uint64) (reply []byte, known uint64, err error) {
	body := fmt.Appendf(nil, "old %d\n", c.size)
	if c.size > 0 && c.size < size {
		pb, err := client.NewProofBuilder(ctx, size, c.reader.ReadTile)
		if err != nil {
			return nil, 0, err
		}
		path, err := pb.ConsistencyProof(ctx, c.size, size)
		if err != nil {
			return nil, 0, err
		}
		for _, h := range path {
			body = append(base64.StdEncoding.AppendEncode(body, h), '\n')
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(append(append(body, '\n'), checkpoint...)))
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, maxCosignReply))
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode == http.StatusConflict && resp.Header.Get("Content-Type") == "text/x.tlog.size" {
		known, err = strconv.ParseUint(strings.TrimSpace(string(reply)), 10, 63)
		return nil, known, err
	}
	if resp.StatusCode != http.StatusOK || len(reply) == 0 {
		return nil, 0, fmt.Errorf("status %d: %s", resp.StatusCode, said(reply))
	}
	return reply, 0, nil
}

// pick keeps lines of a reply that are cosignatures of this cosigner's keys, which was asked at a
// time.
func (c *cosigner) pick(base, reply []byte, asked time.Time) ([][]byte, error) {
	var lines [][]byte
	for line := range bytes.Lines(reply) {
		view, err := c.policy.OpenLogged(append(bytes.Clone(base), line...))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(view.Cosignatures, func(s tlogpolicy.Cosignature) bool { return slices.Contains(c.names, s.Name) }) {
			lines = append(lines, line)
			c.roster.observe(view, asked, c.roster.now())
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("its answer has no cosignature of a key that policy.txt names")
	}
	return lines, nil
}
