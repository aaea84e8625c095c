// Package signer signs with keys that are named by reference: a PEM file, or a key management system through sigstore's references
// (https://docs.sigstore.dev/cosign/key_management/overview/) and plugins. Publishers sign their submissions with it, and logs their
// checkpoints.
//
// A reference with "://" is of a key management system: its scheme NAME is the program sigstore-kms-NAME on the PATH, sigstore's plugin
// protocol (https://github.com/sigstore/sigstore/tree/main/pkg/signature/kms/cliplugin). No vendor's SDK is part of this module. Any other
// reference is a file with mode 0600.
//
// Every signature is verified before it leaves this package, within a time: a key management system that answers for another key, with
// garbage or not at all gives an error. Keys are Ed25519, or ECDSA on P-256 (SHA-256) or P-384 (SHA-384).
package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// Timeout bounds every question to a key management system.
const Timeout = 10 * time.Second

const maxKeyFile = 1 << 16

// A Password returns the password of an encrypted key file. It is asked only for one.
type Password func(path string) ([]byte, error)

// maxPending bounds the questions of one key that nobody waits for any more, and that are not over: a plugin's own children may outlive it.
const maxPending = 8

// A Signer is a key to sign with. It may be used concurrently.
type Signer struct {
	ref     string
	key     *poclog.PublisherKey
	pending chan struct{} // a token for each question

	mu   sync.Mutex // guards sign
	sign signature.Signer
}

// Ref returns the reference.
func (s *Signer) Ref() string { return s.ref }

// Key returns the public key.
func (s *Signer) Key() *poclog.PublisherKey { return s.key }

// Open opens the key that a reference names.
func Open(ctx context.Context, ref string, password Password) (*Signer, error) {
	if !strings.Contains(ref, "://") {
		return openFile(ref, password)
	}
	s := &Signer{ref: ref, pending: make(chan struct{}, maxPending)}
	public, err := ask(ctx, s, func(ctx context.Context) (crypto.PublicKey, error) {
		sv, err := open(ref, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return sv.PublicKey(options.WithContext(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	if s.key, err = poclog.NewPublisherKey(public); err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return s, nil
}

// Pinned returns a signer for the key that a reference of a key management system named before, which is not asked: it may be out of reach now.
// Signatures of any other key are errors.
func Pinned(ref string, key *poclog.PublisherKey) (*Signer, error) {
	if err := CheckRef(ref); err != nil {
		return nil, err
	}
	return &Signer{ref: ref, key: key, pending: make(chan struct{}, maxPending)}, nil
}

// reference is the form of a reference to a key management system. Its scheme becomes the name of a program.
var reference = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*://[!-~]+$`)

// CheckRef refuses what is no reference of a key management system.
func CheckRef(ref string) error {
	if !reference.MatchString(ref) || len(ref) > 1024 {
		return fmt.Errorf("key reference %.80q: want NAME://KEY in at most 1024 bytes of printable ASCII, where sigstore-kms-NAME is the plugin", ref)
	}
	return nil
}

// open loads what a reference names. It is not given the caller's context, whose deadline sigstore would tell the plugin of all later calls.
func open(ref string, hash crypto.Hash) (kms.SignerVerifier, error) {
	if err := CheckRef(ref); err != nil {
		return nil, err
	}
	if hash == 0 {
		hash = crypto.SHA256 // what sigstore's own tools say; Ed25519 has no use for it
	}
	return kms.Get(context.Background(), ref, hash)
}

// ask puts a question to a key management system, whose client is not ours: it may panic, and go on when its context has ended.
func ask[T any](ctx context.Context, s *Signer, question func(context.Context) (T, error)) (answer T, err error) {
	type reply struct {
		answer T
		err    error
	}
	select {
	case s.pending <- struct{}{}:
	default:
		return answer, fmt.Errorf("%d earlier questions are still unanswered", maxPending)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	done := make(chan reply, 1)
	go func() {
		defer func() { <-s.pending }()
		defer func() {
			if p := recover(); p != nil {
				done <- reply{err: fmt.Errorf("its answer is malformed: %v", p)}
			}
		}()
		answer, err := question(ctx)
		done <- reply{answer, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			r.err = fmt.Errorf("no answer: %w", context.Cause(ctx))
		}
		return r.answer, oneLine(r.err)
	case <-ctx.Done():
		return answer, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
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
	sig, err := ask(ctx, s, func(ctx context.Context) ([]byte, error) {
		signer, err := s.signer()
		if err != nil {
			return nil, err
		}
		return signer.SignMessage(bytes.NewReader(msg), options.WithContext(ctx))
	})
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

// signer loads the key management system's client, once it can.
func (s *Signer) signer() (signature.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sign == nil {
		sv, err := open(s.ref, dsse.Hash(s.key))
		if err != nil {
			return nil, err
		}
		s.sign = sv
	}
	return s.sign, nil
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
	return &Signer{ref: path, key: key, sign: sign, pending: make(chan struct{}, maxPending)}, nil
}

// decode reads a private key: PKCS #8 or SEC 1, in PEM, plain or encrypted as OpenSSL or sigstore do it.
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
