package log

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
)

// A log's Ed25519 key is a file, fileEd25519, or lives in a key management system, and then
// fileKeyRef has two lines: its note verifier key, which pins the key, and its reference. Whoever
// writes it says which program is asked to sign.
const fileKeyRef = "keys/ed25519.ref"

// newEd25519 makes a log's Ed25519 key, or takes the one that a key management system has, and
// returns the file that is to hold it.
func newEd25519(origin string, key *signer.Signer) (name string, file []byte, vkey string, err error) {
	if key == nil {
		skey, vkey, err := note.GenerateKey(rand.Reader, origin)
		if err != nil {
			return "", nil, "", fmt.Errorf("make Ed25519 key: %w", err)
		}
		return fileEd25519, []byte(skey + "\n"), vkey, nil
	}
	if err := signer.CheckRef(key.Ref()); err != nil {
		return "", nil, "", err
	}
	public, ok := key.Key().Public.(ed25519.PublicKey)
	if !ok {
		return "", nil, "", fmt.Errorf("key %s is no Ed25519 key: checkpoints need one", key.Ref())
	}
	if vkey, err = note.NewEd25519VerifierKey(origin, public); err != nil {
		return "", nil, "", fmt.Errorf("key %s: %w", key.Ref(), err)
	}
	// A system that signs a hash of the message would be found out by the first checkpoint. This is
	// none: it has one line.
	if _, err := key.Sign(context.Background(), fmt.Appendf(nil, "a trial of the key of log %s\n", origin)); err != nil {
		return "", nil, "", err
	}
	return fileKeyRef, []byte(vkey + "\n" + key.Ref() + "\n"), vkey, nil
}

// signers loads the log's keys.
func signers(dir string) (ed25519, mldsa note.Signer, err error) {
	if ed25519, err = ed25519Signer(dir); err != nil {
		return nil, nil, err
	}
	text, err := readKey(dir, fileMLDSA, 0o077)
	if err != nil {
		return nil, nil, err
	}
	// The texts of these errors must not quote a key.
	if mldsa, err = fnote.NewMLDSASigner(text); err != nil {
		return nil, nil, fmt.Errorf("%s is no ML-DSA-44 key", fileMLDSA)
	}
	if ed25519.Name() != mldsa.Name() {
		return nil, nil, fmt.Errorf("the log's keys are of two origins, %q and %q", ed25519.Name(), mldsa.Name())
	}
	return ed25519, mldsa, nil
}

func ed25519Signer(dir string) (note.Signer, error) {
	text, err := readKey(dir, fileKeyRef, 0o022)
	if err == nil {
		if _, err := os.Lstat(filepath.Join(dir, fileEd25519)); err == nil {
			return nil, fmt.Errorf("%s and %s are both here: a log has one Ed25519 key", fileEd25519, fileKeyRef)
		}
		return parseKeyRef(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if text, err = readKey(dir, fileEd25519, 0o077); err != nil {
		return nil, err
	}
	s, err := note.NewSigner(text)
	if err != nil {
		return nil, fmt.Errorf("%s is no Ed25519 note key", fileEd25519)
	}
	return s, nil
}

// readKey reads a file of the log's keys, on which others may not have the permissions of a mask.
func readKey(dir, name string, others os.FileMode) (string, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&others != 0 {
		return "", fmt.Errorf("key %s has mode %04o: want %04o", path, info.Mode().Perm(), 0o666&^others)
	}
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// parseKeyRef opens the key that a fileKeyRef names. The key management system is not asked: a log
// starts while it is out of reach.
func parseKeyRef(text string) (note.Signer, error) {
	vkey, ref, ok := strings.Cut(text, "\n")
	if !ok || strings.Contains(ref, "\n") {
		return nil, fmt.Errorf("%s: want two lines, a verifier key and a key reference", fileKeyRef)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("%s: verifier key: %w", fileKeyRef, err)
	}
	// A verifier key is name, hash, and the base64 of its algorithm's byte before the key
	// (https://c2sp.org/signed-note). The name has no plus sign, the base64 may have one.
	parts := strings.SplitN(vkey, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s: the verifier key is no Ed25519 key", fileKeyRef)
	}
	public, err := poclog.NewPublisherKey(ed25519.PublicKey(raw[1:]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileKeyRef, err)
	}
	key, err := signer.Pinned(ref, public)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileKeyRef, err)
	}
	return &remoteSigner{v, key}, nil
}

// A remoteSigner is a note.Signer whose key lives in a key management system. What it returns was
// verified, within signer.Timeout.
type remoteSigner struct {
	note.Verifier
	key *signer.Signer
}

// Sign signs a checkpoint's text.
func (s *remoteSigner) Sign(msg []byte) ([]byte, error) {
	sig, err := s.key.Sign(context.Background(), msg)
	if err != nil {
		return nil, err
	}
	if !s.Verify(msg, sig) {
		return nil, fmt.Errorf("key %s: the signature is not one of log %s", s.key.Ref(), s.Name())
	}
	return sig, nil
}
