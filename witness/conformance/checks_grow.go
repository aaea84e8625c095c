package conformance

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkFirst checks the first checkpoint with entries.
func (s *suite) checkFirst(ctx context.Context) {
	s.check(ctx, "first", "the first checkpoint is cosigned by every key of the witness without a proof, from old 0", func() error {
		if s.size != 0 {
			return skip("an earlier check made the witness cosign a checkpoint that it should have refused")
		}
		return s.accepted(ctx, s.main.request(s, 0, 3))
	})
	s.check(ctx, "signature.unknown-ignored", "signatures of unknown keys are ignored, whatever they are", func() error {
		r := s.main.request(s, s.size, s.size+2)
		r.checkpoint += unknownLine("other.example/witness") + unknownLine(s.origin)
		return s.accepted(ctx, r)
	})
	for i, k := range s.keys {
		id := fmt.Sprintf("signature.only-key-%d", i+1)
		s.check(ctx, id, "the signature of one trusted key suffices", func() error {
			if len(s.keys) < 2 {
				return skip("the log has one key")
			}
			r := s.main.request(s, s.size, s.size+1)
			r.checkpoint = signNote(s.main.checkpoint(s.origin, s.size+1), k)
			return s.accepted(ctx, r)
		})
	}
	s.check(ctx, "signature.sixteen", "a checkpoint with sixteen signatures of the size of ML-DSA-44's is cosigned", func() error {
		r := s.main.request(s, s.size, s.size+1)
		for i := len(s.keys); i < 16; i++ {
			r.checkpoint += unknownLine(fmt.Sprintf("witness-%d.example/a-name-of-a-common-length", i))
		}
		return s.accepted(ctx, r)
	})
	s.check(ctx, "extension-lines", "a checkpoint with an extension line is cosigned, and an Ed25519 cosignature covers the line", func() error {
		key := s.plainKey()
		if key == nil {
			return skip("the log has no Ed25519 key, and ML-DSA-44 does not cover extension lines")
		}
		to := s.size + 1
		text := s.main.checkpoint(s.origin, to) + "an extension line\n"
		return s.accepted(ctx, request{s.size, s.main.prove(s.size, to), signNote(text, key)})
	})
}

// checkGrowth checks proofs between many pairs of sizes.
func (s *suite) checkGrowth(ctx context.Context) {
	s.check(ctx, "grow", "every consistent larger checkpoint is cosigned, whatever the two sizes", func() error {
		for _, step := range []int64{1, 1, 2, 3, 7, 16, 31, 1, 64, 129, 255, 1, 1000} {
			if err := s.accepted(ctx, s.main.request(s, s.size, s.size+step)); err != nil {
				return fmt.Errorf("from %d to %d: %w", s.size, s.size+step, err)
			}
		}
		return nil
	})
}

// checkRefusals checks proofs that do not prove.
func (s *suite) checkRefusals(ctx context.Context) {
	// Odd sizes make a proof of several hashes.
	s.check(ctx, "proof.setup", "a checkpoint of an odd size is cosigned", func() error {
		return s.accepted(ctx, s.main.request(s, s.size, s.size|1+2))
	})
	spoil := func(id, desc string, f func(r *request)) {
		s.check(ctx, "proof."+id, desc+" is 422", func() error {
			if err := s.need(4); err != nil {
				return err
			}
			r := s.main.request(s, s.size, s.size+6)
			f(&r)
			return s.refused(ctx, r.body(), http.StatusUnprocessableEntity)
		})
	}
	spoil("other-hash", "a consistency proof with another hash", func(r *request) {
		r.proof[len(r.proof)/2] = base64.StdEncoding.EncodeToString(make([]byte, 32))
	})
	spoil("missing-hash", "a consistency proof without its last hash", func(r *request) { r.proof = r.proof[:len(r.proof)-1] })
	spoil("one-more-hash", "a consistency proof with one more hash", func(r *request) { r.proof = append(r.proof, r.proof[0]) })
	spoil("empty", "an empty consistency proof", func(r *request) { r.proof = nil })
	spoil("reversed", "a consistency proof in reverse", func(r *request) { slices.Reverse(r.proof) })
	spoil("other-root", "a good proof with another root", func(r *request) {
		r.checkpoint = s.sign(checkpointText(s.origin, fmt.Sprint(s.size+6), tlog.Hash{7}))
	})
	spoil("fork", "the proof of another history", func(r *request) {
		*r = newHistory("fork", s.size-1, s.main).request(s, s.size, s.size+6)
	})
	s.check(ctx, "proof.good", "the proof that was spoiled is good", func() error {
		return s.accepted(ctx, s.main.request(s, s.size, s.size+6))
	})
}

// checkSameSize checks requests for the size on record.
func (s *suite) checkSameSize(ctx context.Context) {
	s.check(ctx, "same-size.same-root", "the checkpoint on record is cosigned again", func() error {
		return s.accepted(ctx, s.main.request(s, s.size, s.size))
	})
	s.check(ctx, "same-size.other-root", "another root at the size on record is 422", func() error {
		if err := s.need(4); err != nil {
			return err
		}
		r := newHistory("fork", s.size-1, s.main).request(s, s.size, s.size)
		return s.refused(ctx, r.body(), http.StatusUnprocessableEntity)
	})
	s.check(ctx, "same-size.with-proof", "a proof between equal sizes, which must be empty, is 422", func() error {
		if err := s.need(4); err != nil {
			return err
		}
		r := s.main.request(s, s.size, s.size)
		r.proof = s.main.prove(s.size-1, s.size)
		return s.refused(ctx, r.body(), http.StatusUnprocessableEntity)
	})
}

// checkSizes checks the old size against the checkpoint's and that on record.
func (s *suite) checkSizes(ctx context.Context) {
	s.check(ctx, "old.larger-than-checkpoint", "an old size, that on record, above the checkpoint's is 400", func() error {
		if err := s.need(4); err != nil {
			return err
		}
		r := request{old: s.size, checkpoint: s.sign(s.main.checkpoint(s.origin, s.size-1))}
		return s.refused(ctx, r.body(), http.StatusBadRequest)
	})
	conflict := func(id, desc string, from, to func() int64) {
		s.check(ctx, "old."+id, desc+" is 409 with the size on record and type text/x.tlog.size", func() error {
			if err := s.need(4); err != nil {
				return err
			}
			a, err := s.add(ctx, s.main.request(s, from(), to()))
			if err != nil {
				return err
			}
			size, err := a.conflict()
			if err == nil && size != s.size {
				err = fmt.Errorf("409 with size %d: want %d", size, s.size)
			}
			return err
		})
	}
	conflict("zero", "old 0 though a checkpoint is on record", func() int64 { return 0 }, func() int64 { return s.size + 1 })
	conflict("smaller", "an old size below that on record", func() int64 { return s.size - 2 }, func() int64 { return s.size + 1 })
	conflict("larger", "an old size above that on record", func() int64 { return s.size + 1 }, func() int64 { return s.size + 2 })
	conflict("rollback", "a smaller checkpoint with a smaller old size", func() int64 { return s.size - 3 }, func() int64 { return s.size - 1 })
	conflict("rollback-same", "an older checkpoint from itself", func() int64 { return s.size - 1 }, func() int64 { return s.size - 1 })
}

// checkMonitoring checks what the monitoring API serves after all that.
func (s *suite) checkMonitoring(ctx context.Context) {
	s.check(ctx, "monitoring.latest", "GET /<hex SHA-256(origin)>/checkpoint is the latest cosigned checkpoint with the log's and the witness's signatures", func() error {
		return s.servesLatest(ctx)
	})
	s.check(ctx, "monitoring.follows", "the next checkpoint is served as soon as it is cosigned", func() error {
		if err := s.accepted(ctx, s.main.request(s, s.size, s.size+1)); err != nil {
			return err
		}
		return s.servesLatest(ctx)
	})
	s.check(ctx, "monitoring.unknown", "the checkpoint of an unknown origin is 404", func() error {
		a, err := s.published(ctx, "stranger.example/log")
		if err != nil {
			return err
		}
		return a.want(http.StatusNotFound)
	})
}

func (s *suite) servesLatest(ctx context.Context) error {
	a, err := s.published(ctx, s.origin)
	if err != nil {
		return err
	}
	if err := a.want(http.StatusOK); err != nil {
		return err
	}
	text, sigs, ok := strings.Cut(a.body, "\n\n")
	if !ok || text+"\n" != s.latest {
		return fmt.Errorf("it serves %.200q: want the text %q", a.body, s.latest)
	}
	if !slices.ContainsFunc(s.keys, func(k note.Signer) bool {
		return slices.ContainsFunc(strings.Split(sigs, "\n"), func(line string) bool { return signedBy(line, k) })
	}) {
		return fmt.Errorf("no signature of the log in %.200q", sigs)
	}
	n, err := note.Open([]byte(a.body), note.VerifierList(s.verifiers()...))
	if err != nil {
		return fmt.Errorf("the witness's signatures: %w", err)
	}
	if len(n.Sigs) != len(s.cosigners) {
		return fmt.Errorf("cosignatures of %d keys: want %d", len(n.Sigs), len(s.cosigners))
	}
	_, err = torchwood.ParseCheckpoint(n.Text)
	return err
}

// signedBy reports whether a signature line names a key.
func signedBy(line string, k note.Signer) bool {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[1] != k.Name() {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	return err == nil && len(raw) > 4 && uint32(raw[0])<<24|uint32(raw[1])<<16|uint32(raw[2])<<8|uint32(raw[3]) == k.KeyHash()
}

// checkHTTP checks the protocol below.
func (s *suite) checkHTTP(ctx context.Context) {
	s.check(ctx, "http.get", "add-checkpoint by GET is not answered with a cosignature", func() error {
		a, err := s.do(ctx, http.MethodGet, s.target.URL+"/add-checkpoint", s.main.request(s, s.size, s.size).body())
		if err != nil {
			return err
		}
		return a.want(http.StatusMethodNotAllowed, http.StatusNotFound, http.StatusBadRequest)
	})
	s.check(ctx, "http.keep-alive", "a connection serves several requests (should)", func() error {
		reused := false
		trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		for range 2 {
			if err := s.accepted(trace, s.main.request(s, s.size, s.size+1)); err != nil {
				return err
			}
		}
		if !reused {
			return fmt.Errorf("the second of two requests got a new connection")
		}
		return nil
	})
}
