package witness

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// A Log is a log whose checkpoints the witness cosigns.
type Log struct {
	Origin    string
	VKeys     []string  // a signature of any of these suffices
	Started   bool      // whether a checkpoint was cosigned
	Size      uint64    // of the latest cosigned checkpoint
	Cosigned  time.Time // when that was; zero before the first
	Conflicts int       // signed checkpoints on record that contradict it
}

// A Conflict is proof that a log signed two trees of one size: both checkpoints carry the log's
// signature, ours also our cosignatures.
type Conflict struct {
	Size   uint64
	Root   [32]byte // of the checkpoint that was refused
	Seen   time.Time
	Theirs []byte
	Ours   []byte
}

// maxKeys is how many keys one log can have: each costs a verification for a hostile request.
const maxKeys = 8

// Logs returns the logs that the witness cosigns, by origin.
func (w *Witness) Logs(ctx context.Context) ([]Log, error) { return w.state.logs(ctx) }

// Conflicts returns the conflicting checkpoints on record of a log.
func (w *Witness) Conflicts(ctx context.Context, origin string) ([]Conflict, error) {
	return w.state.conflicts(ctx, origin)
}

// AddLog makes the witness cosign logs whose origin is the name of the verifier key. Several keys
// of one name are several keys of one log. Keys are Ed25519 note keys (type 0x01) or ML-DSA-44 keys
// (0x06). Processes that have the same folder open follow without a restart.
func (w *Witness) AddLog(ctx context.Context, vkeys ...string) error {
	if len(vkeys) == 0 {
		return errors.New("add log: no verifier key")
	}
	byOrigin := make(map[string][]string)
	var origins []string
	for _, k := range vkeys {
		v, err := newLogVerifier(k)
		if err != nil {
			return fmt.Errorf("add log: %w", err)
		}
		if byOrigin[v.Name()] == nil {
			origins = append(origins, v.Name())
		}
		byOrigin[v.Name()] = append(byOrigin[v.Name()], k)
	}
	for _, origin := range origins {
		if _, err := w.addKeys(ctx, origin, byOrigin[origin]); err != nil {
			return err
		}
	}
	return nil
}

// addKeys checks that the keys can stand beside those that the log has, and adds them.
func (w *Witness) addKeys(ctx context.Context, origin string, vkeys []string) (int, error) {
	if origin == "" || len(origin) > maxOrigin || strings.ContainsAny(origin, "\n\r") {
		return 0, fmt.Errorf("add log %q: want an origin of one line of 1 to %d bytes", origin, maxOrigin)
	}
	all := append([]string(nil), vkeys...)
	h, err := w.state.head(ctx, origin)
	if err != nil && !errors.Is(err, errNoLog) {
		return 0, err
	}
	if err == nil && h.vkeys != "" {
		all = append(all, strings.Split(h.vkeys, "\n")...)
	}
	if _, err := parseVerifiers(all); err != nil {
		return 0, fmt.Errorf("add log %q: %w", origin, err)
	}
	return w.state.addLog(ctx, origin, vkeys)
}

// RemoveLog makes the witness answer 404 to a log. What it cosigned stays on record and is served;
// a log that is added again goes on from there.
func (w *Witness) RemoveLog(ctx context.Context, origin string) error {
	return w.state.removeKeys(ctx, origin)
}

// newLogVerifier returns the verifier of a log's key, and refuses a key that is not in its one
// encoding.
func newLogVerifier(vkey string) (note.Verifier, error) {
	_, rest, _ := strings.Cut(vkey, "+")
	hash, key64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(raw) == 0 || hash != strings.ToLower(hash) || strings.ContainsAny(vkey, "\n\r") {
		return nil, fmt.Errorf("verifier key %.80q: want <name>+<hash>+<base64>", vkey)
	}
	var v note.Verifier
	switch raw[0] {
	case algEd25519:
		v, err = note.NewVerifier(vkey)
	case algMLDSA44:
		v, err = torchwood.NewCosignatureVerifier(vkey)
	default:
		return nil, fmt.Errorf("verifier key %.80q of type 0x%02x: a log signs with 0x01 (Ed25519) or 0x06 (ML-DSA-44)", vkey, raw[0])
	}
	if err != nil {
		return nil, fmt.Errorf("verifier key %.80q: %w", vkey, err)
	}
	return v, nil
}

// parseVerifiers returns the verifiers of one log. Equal keys count once; different ones with one
// name and hash are refused, for a signature would not say whose it is.
func parseVerifiers(vkeys []string) (note.Verifiers, error) {
	type id struct {
		name string
		hash uint32
	}
	seen := make(map[id]string)
	var list []note.Verifier
	for _, k := range vkeys {
		v, err := newLogVerifier(k)
		if err != nil {
			return nil, err
		}
		switch was, ok := seen[id{v.Name(), v.KeyHash()}]; {
		case ok && was == k:
			continue
		case ok:
			return nil, fmt.Errorf("two keys have the name %q and the hash %08x", v.Name(), v.KeyHash())
		}
		seen[id{v.Name(), v.KeyHash()}] = k
		list = append(list, &remembering{Verifier: v})
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("%d keys: want at most %d", len(list), maxKeys)
	}
	return note.VerifierList(list...), nil
}

// A remembering verifier knows the last signature that it found good, and does not verify it again:
// a public checkpoint can be repeated by anybody, with other signature lines each time.
type remembering struct {
	note.Verifier
	good atomic.Pointer[[sha256.Size]byte] // the hash of a message and its signature
}

func (v *remembering) Verify(msg, sig []byte) bool {
	h := sha256.New()
	_ = binary.Write(h, binary.BigEndian, uint64(len(msg))) // a hash takes everything
	h.Write(msg)
	h.Write(sig)
	key := [sha256.Size]byte(h.Sum(nil))
	if good := v.good.Load(); good != nil && *good == key {
		return true
	}
	if !v.Verifier.Verify(msg, sig) {
		return false
	}
	v.good.Store(&key)
	return true
}
