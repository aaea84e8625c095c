package conformance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkEmpty checks the witness before and at the first checkpoint, of size 0.
func (s *suite) checkEmpty(ctx context.Context) {
	s.check(ctx, "monitoring.before-first", "GET /<hex SHA-256(origin)>/checkpoint is 404 before the first cosigned checkpoint", func() error {
		if !s.unpublished {
			return fmt.Errorf("it was not 404")
		}
		return nil
	})
	s.check(ctx, "size-0.other-root", "a checkpoint of size 0 whose root is not SHA-256 of nothing is 422", func() error {
		return s.otherRoot.want(http.StatusUnprocessableEntity)
	})
	s.check(ctx, "old.unseen-log", "the old size of a log without a record is 0: another is 409 with the body 0 and type text/x.tlog.size", func() error {
		return s.onUnseen(func(u *suite) error {
			a, err := u.add(ctx, u.main.request(u, 2, 5))
			if err != nil {
				return err
			}
			size, err := a.conflict()
			if err == nil && size != 0 {
				err = fmt.Errorf("409 with size %d: want 0", size)
			}
			return err
		})
	})
	s.check(ctx, "size-0.empty-root", "a checkpoint of the empty tree is cosigned", func() error {
		return s.onUnseen(func(u *suite) error { return u.accepted(ctx, u.main.request(u, 0, 0)) })
	})
	s.check(ctx, "old-0.with-proof", "old 0 with a consistency proof is 422", func() error {
		return s.onUnseen(func(u *suite) error {
			r := u.main.request(u, 0, 3)
			r.proof = u.main.prove(2, 3)
			return u.refused(ctx, r.body(), http.StatusUnprocessableEntity)
		})
	})
}

// checkSignatures checks whose signatures count.
func (s *suite) checkSignatures(ctx context.Context) {
	next := func(origin string) string { return s.main.checkpoint(origin, s.size+1) }
	body := func(checkpoint string) string {
		return request{old: s.size, proof: s.main.prove(s.size, s.size+1), checkpoint: checkpoint}.body()
	}
	stranger := newSigner("stranger.example/log")
	impostor := newSigner(s.origin)
	s.check(ctx, "origin.unknown", "an unknown origin is 404", func() error {
		return s.refused(ctx, body(signNote(next("stranger.example/log"), stranger)), http.StatusNotFound)
	})
	s.check(ctx, "origin.unknown-known-key", "an unknown origin is 404 also with a signature of another log's key", func() error {
		text := next("stranger.example/log")
		return s.refused(ctx, body(s.sign(text)), http.StatusNotFound)
	})
	s.check(ctx, "signature.unknown-key", "no signature of a trusted key, though one of a key with the log's name, is 403", func() error {
		return s.refused(ctx, body(signNote(next(s.origin), impostor, stranger)), http.StatusForbidden)
	})
	s.check(ctx, "signature.none", "a checkpoint without signatures is refused (403, or 400 for what is not a note)", func() error {
		return s.refused(ctx, body(next(s.origin)+"\n"), http.StatusForbidden, http.StatusBadRequest)
	})
	for i, k := range s.keys {
		id := fmt.Sprintf("signature.bad-key-%d", i+1)
		s.check(ctx, id, "a signature of a trusted key that does not verify is 403", func() error {
			bad, err := signatureLine(s.main.checkpoint(s.origin, s.size+2), k)
			if err != nil {
				return err
			}
			return s.refused(ctx, body(next(s.origin)+"\n"+bad), http.StatusForbidden)
		})
	}
	s.check(ctx, "signature.bad-beside-good", "a trusted key's signature that does not verify is 403 also beside a good one of another trusted key", func() error {
		if len(s.keys) < 2 {
			return skip("the log has one key")
		}
		bad, err := signatureLine(s.main.checkpoint(s.origin, s.size+2), s.keys[1])
		if err != nil {
			return err
		}
		return s.refused(ctx, body(signNote(next(s.origin), s.keys[0])+bad), http.StatusForbidden)
	})
}

// newSigner returns a key that no witness knows.
func newSigner(name string) note.Signer {
	skey, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		panic(fmt.Sprintf("conformance: generate a key: %v", err))
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		panic(fmt.Sprintf("conformance: generate a key: %v", err))
	}
	return s
}

// unknownLine returns a signature line as long as an ML-DSA-44 cosignature, of a key that no
// witness knows.
func unknownLine(name string) string {
	raw := make([]byte, 4+8+2420)
	rand.Read(raw)
	h := sha256.Sum256([]byte(name))
	copy(raw, h[:4])
	binary.BigEndian.PutUint64(raw[4:], 1700000000)
	return "— " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// checkBodies checks that every spoiled body is refused by a status of the 4xx kind, and leaves no
// trace. The specification names no status for these.
func (s *suite) checkBodies(ctx context.Context) {
	for _, c := range s.spoiledBodies() {
		s.check(ctx, "body."+c.id, c.desc+" is refused", func() error {
			body, err := c.body()
			if err != nil {
				return err
			}
			return s.refused(ctx, body)
		})
	}
}

type spoiled struct {
	id, desc string
	body     func() (string, error)
}

// spoiledBodies returns requests that would be cosigned were it not for one thing.
func (s *suite) spoiledBodies() []spoiled {
	var list []spoiled
	// good is the request as it should be, from whatever is on record when its turn comes.
	good := func() (head, proof, checkpoint string) {
		r := s.main.request(s, s.size, s.size+1)
		head, _, _ = strings.Cut(r.body(), "\n")
		for _, p := range r.proof {
			proof += p + "\n"
		}
		return head + "\n", proof, r.checkpoint
	}
	add := func(id, desc string, f func(head, proof, checkpoint string) string) {
		list = append(list, spoiled{id, desc, func() (string, error) { return f(good()), nil }})
	}
	number := func(id, desc, format string) {
		add("old-"+id, desc, func(_, proof, checkpoint string) string {
			return fmt.Sprintf(format, s.size) + "\n" + proof + "\n" + checkpoint
		})
	}
	number("leading-zero", "an old size with a leading zero", "old 0%d")
	number("plus", "an old size with a plus", "old +%d")
	number("minus", "a negative old size", "old -%d")
	number("two-spaces", "two spaces before the old size", "old  %d")
	number("trailing-space", "a space after the old size", "old %d ")
	number("tab", "a tab before the old size", "old\t%d")
	number("hex", "a hexadecimal old size", "old 0x%x")
	number("word", "a first line that does not begin with the word old", "size %d")
	number("upper-case", "a first line that begins with OLD", "OLD %d")
	number("no-word", "a first line without the word old", "%d")
	number("carriage-return", "a carriage return after the old size", "old %d\r")
	add("old-empty", "an empty old size", func(_, proof, cp string) string { return "old \n" + proof + "\n" + cp })
	add("old-huge", "an old size of 2^64", func(_, proof, cp string) string { return "old 18446744073709551616\n" + proof + "\n" + cp })
	add("old-missing", "a body without the old size line", func(_, proof, cp string) string { return proof + "\n" + cp })
	add("empty", "an empty body", func(_, _, _ string) string { return "" })
	add("no-empty-line", "no empty line before the checkpoint", func(head, proof, cp string) string { return head + proof + cp })
	add("no-checkpoint", "a body without a checkpoint", func(head, proof, _ string) string { return head + proof + "\n" })
	add("proof-not-base64", "a proof line that is not base64", func(head, proof, cp string) string { return head + proof + "!!!!\n\n" + cp })
	add("proof-url-base64", "a proof line in URL-safe base64", func(head, proof, cp string) string {
		return head + proof + "__________________________________________8=\n\n" + cp
	})
	add("proof-short", "a proof line of 31 bytes", func(head, proof, cp string) string {
		return head + proof + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n\n" + cp
	})
	add("proof-64-lines", "a proof of 64 lines", func(head, _, cp string) string {
		return head + strings.Repeat(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", 64) + "\n" + cp
	})
	s.spoiledCheckpoints(&list)
	return list
}

// spoiledCheckpoints adds requests whose checkpoint is signed by the log but is none.
func (s *suite) spoiledCheckpoints(list *[]spoiled) {
	add := func(id, desc string, text func(root tlog.Hash) string) {
		*list = append(*list, spoiled{id, desc, func() (string, error) {
			key := s.plainKey()
			if key == nil {
				return "", skip("the log has no Ed25519 key, and others sign checkpoints only")
			}
			to := s.size + 1
			return request{old: s.size, proof: s.main.prove(s.size, to), checkpoint: signNote(text(s.main.root(to)), key)}.body(), nil
		}})
	}
	size := func(id, desc, format string) {
		add("checkpoint-size-"+id, desc, func(root tlog.Hash) string {
			return checkpointText(s.origin, fmt.Sprintf(format, s.size+1), root)
		})
	}
	size("leading-zero", "a checkpoint size with a leading zero", "0%d")
	size("plus", "a checkpoint size with a plus", "+%d")
	size("minus", "a negative checkpoint size", "-%d")
	size("space", "a space after the checkpoint size", "%d ")
	add("checkpoint-size-huge", "a checkpoint size of 2^64", func(root tlog.Hash) string {
		return checkpointText(s.origin, "18446744073709551616", root)
	})
	add("checkpoint-no-root", "a checkpoint without a root", func(tlog.Hash) string { return fmt.Sprintf("%s\n%d\n", s.origin, s.size+1) })
	add("checkpoint-short-root", "a root of 31 bytes", func(root tlog.Hash) string {
		return fmt.Sprintf("%s\n%d\n%s\n", s.origin, s.size+1, base64.StdEncoding.EncodeToString(root[:31]))
	})
	add("checkpoint-loose-root", "a root in base64 with other trailing bits", func(root tlog.Hash) string {
		return fmt.Sprintf("%s\n%d\n%s\n", s.origin, s.size+1, loosen(base64.StdEncoding.EncodeToString(root[:])))
	})
}

// loosen changes the last bits of the base64 of 32 bytes, which a lenient decoder drops.
func loosen(b64 string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	i := strings.IndexByte(alphabet, b64[42])
	return b64[:42] + string(alphabet[i|1]) + "="
}

// plainKey returns a key of the log that signs any text, or nil.
func (s *suite) plainKey() note.Signer {
	for _, k := range s.keys {
		if sig, err := k.Sign([]byte("x\n")); err == nil && len(sig) == ed25519.SignatureSize {
			return k
		}
	}
	return nil
}
