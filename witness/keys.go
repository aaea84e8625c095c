package witness

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/mldsa"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/sqlite"
)

// The signature types of note keys (https://c2sp.org/signed-note, signature types).
const (
	algEd25519     = 0x01
	algCosignature = 0x04
	algMLDSA44     = 0x06
)

// The files of a witness folder.
const (
	ed25519File = "ed25519.key"   // note signer key of type 0x01, mode 0600
	agentFile   = "ed25519.agent" // instead of it: the name and the public key that an ssh-agent holds
	mldsaFile   = "mldsa44.key"   // note signer key of type 0x06: the 32-byte seed, mode 0600
	stateFile   = "state.db"
	gatedFile   = "gated" // its presence: these keys sign only what Config.Before lets pass
)

// NeedsAgent reports whether an ssh-agent holds the Ed25519 key of the witness in a folder.
func NeedsAgent(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, agentFile))
	return err == nil
}

// Init makes the folder of a new witness: its name, an Ed25519 and an ML-DSA-44 key, and an empty
// state. It refuses a folder that holds any of these. The name should be a URL without scheme, it
// has no spaces and pluses and at most 255 bytes.
func Init(dir, name string) error {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("generate the Ed25519 key: %w", err)
	}
	if _, err := NewCosigner(name, ed); err != nil {
		return err
	}
	return initDir(dir, name, ed25519File, skey(name, algEd25519, ed.Public().(ed25519.PublicKey), ed.Seed()))
}

// InitGated is Init for keys that state more than consistency, such as an auditor's. Open refuses
// the folder unless Config.Before is set, so that no plain witness signs with them by mistake.
func InitGated(dir, name string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is a witness already", dir)
	}
	// The gate comes before the keys. It is there already if an earlier attempt was cut short.
	err := durable.Create(filepath.Join(dir, gatedFile), []byte("These keys sign only what has passed an audit.\n"), 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Init(dir, name)
}

// checkGate refuses to open gated keys without a gate, and other keys with one.
func checkGate(dir string, gate bool) error {
	_, err := os.Lstat(filepath.Join(dir, gatedFile))
	switch {
	case err == nil && !gate:
		return fmt.Errorf("%s holds the keys of an auditor: a plain witness must not sign with them", dir)
	case errors.Is(err, fs.ErrNotExist) && gate:
		return fmt.Errorf("%s holds no keys of an auditor", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open the witness: %w", err)
	}
	return nil
}

// initDir writes what every kind of witness has, and one file that names its Ed25519 key.
func initDir(dir, name, file, content string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []string{ed25519File, agentFile, mldsaFile, stateFile} {
		if _, err := os.Lstat(filepath.Join(dir, f)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is a witness already, and its keys and state are not to be replaced", filepath.Join(dir, f))
		}
	}
	pq, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		return fmt.Errorf("generate the ML-DSA-44 key: %w", err)
	}
	if err := durable.Create(filepath.Join(dir, mldsaFile), []byte(skey(name, algMLDSA44, pq.PublicKey().Bytes(), pq.Bytes())), 0o600); err != nil {
		return err
	}
	if err := durable.Create(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
		return err
	}
	// The state comes last and is created empty here, once: Open refuses a folder without it, for a
	// witness that has forgotten what it signed must not sign.
	if err := sqlite.Create(filepath.Join(dir, stateFile), schema); err != nil {
		return fmt.Errorf("create the state: %w", err)
	}
	return nil
}

// skey encodes a note signer key: PRIVATE+KEY+<name>+<hash>+<base64 of type and seed>. The hash is
// that of the note key of this type, also where the key signs cosignatures (type 0x04).
func skey(name string, alg byte, public, seed []byte) string {
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s\n", name, keyID(name, alg, public),
		base64.StdEncoding.EncodeToString(append([]byte{alg}, seed...)))
}

// keyID is the key ID of signed-note: the first four bytes of SHA-256(name || newline || type ||
// public key).
func keyID(name string, alg byte, public []byte) uint32 {
	h := sha256.Sum256(append([]byte(name+"\n"+string([]byte{alg})), public...))
	return binary.BigEndian.Uint32(h[:])
}

// ParseSignerKey parses a note signer key of type 0x01 or 0x04 (Ed25519) or 0x06 (ML-DSA-44), and
// returns its name and private key. Errors do not contain key material.
func ParseSignerKey(text string) (name string, key crypto.Signer, err error) {
	parts := strings.Split(strings.TrimSuffix(text, "\n"), "+")
	// The base64 alphabet has pluses.
	if len(parts) < 5 || parts[0] != "PRIVATE" || parts[1] != "KEY" {
		return "", nil, errors.New("signer key: want PRIVATE+KEY+<name>+<hash>+<base64>")
	}
	name = parts[2]
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Join(parts[4:], "+"))
	if err != nil || len(raw) != 1+32 {
		return "", nil, errors.New("signer key: want a type and 32 bytes in base64")
	}
	var public []byte
	switch raw[0] {
	case algEd25519, algCosignature:
		k := ed25519.NewKeyFromSeed(raw[1:])
		key, public = k, k.Public().(ed25519.PublicKey)
	case algMLDSA44:
		k, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), raw[1:])
		if err != nil {
			return "", nil, fmt.Errorf("signer key: %w", err)
		}
		key, public = k, k.PublicKey().Bytes()
	default:
		return "", nil, fmt.Errorf("signer key of type 0x%02x: want 0x01, 0x04 or 0x06", raw[0])
	}
	if parts[3] != fmt.Sprintf("%08x", keyID(name, raw[0], public)) {
		return "", nil, fmt.Errorf("signer key %q: its hash is not that of the key", name)
	}
	return name, key, nil
}

// readKey reads a private key file and refuses one that others can read.
func readKey(path string) (string, crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", nil, fmt.Errorf("read the signer key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", nil, fmt.Errorf("%s: mode %v: a signer key must be its owner's alone (chmod 600)", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read the signer key: %w", err)
	}
	name, key, err := ParseSignerKey(string(text))
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return name, key, nil
}
