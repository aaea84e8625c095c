// Package signer signs with keys that are named by reference: a PEM file, or a key management
// system through sigstore's references (https://docs.sigstore.dev/cosign/key_management/overview/)
// and plugins. Publishers sign their submissions with it, and logs their checkpoints.
//
// A reference with "://" is of a key management system: its scheme NAME is the program
// sigstore-kms-NAME on the PATH, sigstore's plugin protocol
// (https://github.com/sigstore/sigstore/tree/main/pkg/signature/kms/cliplugin). No vendor's SDK is
// part of this module. Any other reference is a file with mode 0600.
//
// A plugin runs once for each question, in a process group of its own, with the part of our
// environment that it may see (docs/operating/log-keys.md). The group is killed when the question's
// time is over; what it writes is bounded.
//
// Every signature is verified before it leaves this package, within a time: a key management system
// that answers for another key, with garbage or not at all gives an error. Keys are Ed25519, or
// ECDSA on P-256 (SHA-256) or P-384 (SHA-384).
package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// timeout bounds every question to a key management system.
const timeout = 10 * time.Second

const maxKeyFile = 1 << 16

// A Password returns the password of an encrypted key file. It is asked only for one.
type Password func(path string) ([]byte, error)

// maxPending bounds the plugins of one key that run at once. Further questions wait.
const maxPending = 8

// A Signer is a key to sign with. It may be used concurrently.
type Signer struct {
	ref string
	key *poclog.PublisherKey

	file    signature.Signer // of a key file
	plugin  *plugin          // of a key management system
	pending chan struct{}    // a token for each of its questions
}

// Ref returns the reference.
func (s *Signer) Ref() string { return s.ref }

// Key returns the public key.
func (s *Signer) Key() *poclog.PublisherKey { return s.key }

// An Opener opens keys. The zero value opens those that need nobody.
type Opener struct {
	Password Password  // nil opens no encrypted file
	Notes    io.Writer // gets what plugins say to people, such as to touch a token, unfiltered; nil drops it
}

// Open opens the key that a reference names.
func Open(ctx context.Context, ref string, password Password) (*Signer, error) {
	return Opener{Password: password}.Open(ctx, ref)
}

// Open opens the key that a reference names.
func (o Opener) Open(ctx context.Context, ref string) (*Signer, error) {
	if !strings.Contains(ref, "://") {
		return openFile(ref, o.Password)
	}
	s := &Signer{ref: ref, pending: make(chan struct{}, maxPending)}
	var err error
	if s.plugin, err = newPlugin(ref, 0, o.Notes); err != nil {
		return nil, err
	}
	public, err := ask(ctx, s, s.plugin.publicKey)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	if s.key, err = poclog.NewPublisherKey(public); err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	s.plugin, err = newPlugin(ref, dsse.Hash(s.key), o.Notes)
	return s, err
}

// Pinned returns a signer for the key that a reference of a key management system named before,
// which is not asked: it may be out of reach now. Signatures of any other key are errors.
func Pinned(ref string, key *poclog.PublisherKey) (*Signer, error) {
	p, err := newPlugin(ref, dsse.Hash(key), nil)
	if err != nil {
		return nil, err
	}
	return &Signer{ref: ref, key: key, plugin: p, pending: make(chan struct{}, maxPending)}, nil
}

// reference is the form of a reference to a key management system. Its scheme becomes the name of a
// program.
var reference = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*://[!-~]+$`)

// CheckRef refuses what is no reference of a key management system.
func CheckRef(ref string) error {
	if !reference.MatchString(ref) || len(ref) > 1024 {
		return fmt.Errorf("key reference %.80q: want NAME://KEY in at most 1024 bytes of printable ASCII, where sigstore-kms-NAME is the plugin", ref)
	}
	return nil
}

// ask puts a question to a key management system, within [timeout]. What parses its answers is not
// ours, and may panic.
func ask[T any](ctx context.Context, s *Signer, question func(context.Context) (T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case s.pending <- struct{}{}:
	case <-ctx.Done():
		return answer, fmt.Errorf("%d earlier questions are still unanswered: %w", maxPending, context.Cause(ctx))
	}
	defer func() { <-s.pending }()
	defer func() {
		if p := recover(); p != nil {
			err = oneLine(fmt.Errorf("its answer is malformed: %v", p))
		}
	}()
	answer, err = question(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return answer, oneLine(err)
}

// oneLine makes a stranger's error safe to print.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	if text := terminal.Line(err.Error(), 400); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// Sign signs a message, and verifies the signature.
func (s *Signer) Sign(ctx context.Context, msg []byte) ([]byte, error) {
	sig, err := s.signature(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.ref, err)
	}
	v, err := signature.LoadVerifier(s.key.Public, dsse.Hash(s.key))
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", s.ref, err)
	}
	if err := v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(msg)); err != nil {
		return nil, fmt.Errorf("sign with key %s: the signature is not one of key %s: %w", s.ref, s.key.Digest, err)
	}
	return sig, nil
}

// signature has a message signed.
func (s *Signer) signature(ctx context.Context, msg []byte) ([]byte, error) {
	if s.file != nil {
		return s.file.SignMessage(bytes.NewReader(msg))
	}
	return ask(ctx, s, func(ctx context.Context) ([]byte, error) { return s.plugin.sign(ctx, msg) })
}

func openFile(path string, password Password) (*Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("key %s: want a file of at most %d bytes", path, maxKeyFile)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s has mode %04o: others can read it; want 0600", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	private, err := decode(b, func(bool) ([]byte, error) {
		if password == nil {
			return nil, errors.New("it is encrypted, and there is no password")
		}
		return password(path)
	})
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	key, err := poclog.NewPublisherKey(private.Public())
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	sign, err := signature.LoadSigner(private, dsse.Hash(key))
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return &Signer{ref: path, key: key, file: sign}, nil
}

// decode reads a private key: PKCS #8 or SEC 1, in PEM, plain or encrypted as OpenSSL or sigstore
// do it.
func decode(file []byte, password cryptoutils.PassFunc) (key crypto.Signer, err error) {
	defer func() {
		if p := recover(); p != nil {
			key, err = nil, errors.New("it is malformed")
		}
	}()
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(file, password)
	if err != nil {
		return nil, oneLine(err)
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T does not sign", private)
	}
	return key, nil
}
