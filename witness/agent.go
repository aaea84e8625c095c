package witness

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTimeout bounds one exchange with the agent.
const agentTimeout = 5 * time.Second

// InitAgent is Init for an Ed25519 key that an ssh-agent holds, so that it never is in a file of
// this witness. Agents do not know ML-DSA-44: that key is in a file as with Init. The key is given
// in the one-line form of ssh-add -L.
func InitAgent(dir, name, sshKey string) error {
	key, err := parseSSHKey([]byte(sshKey))
	if err != nil {
		return err
	}
	if _, err := NewCosigner(name, &agentKey{public: key}); err != nil {
		return err
	}
	return initDir(dir, name, agentFile, name+"\n"+strings.TrimSpace(sshKey)+"\n")
}

func parseSSHKey(line []byte) (ed25519.PublicKey, error) {
	k, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return nil, fmt.Errorf("ssh key: %w", err)
	}
	c, ok := k.(ssh.CryptoPublicKey)
	if !ok || k.Type() != ssh.KeyAlgoED25519 {
		return nil, fmt.Errorf("ssh key of type %s: want %s", k.Type(), ssh.KeyAlgoED25519)
	}
	key, ok := c.CryptoPublicKey().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("ssh key: not an Ed25519 key")
	}
	return key, nil
}

// openAgentKey returns the key that a folder names. Whether the agent has it shows when it first
// signs.
func openAgentKey(path string, dial func() (net.Conn, error)) (string, crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, fmt.Errorf("read the key of the witness (%s or %s): %w", ed25519File, filepath.Base(path), err)
	}
	name, line, _ := bytes.Cut(text, []byte("\n"))
	key, err := parseSSHKey(line)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return string(name), &agentKey{public: key, dial: dial}, nil
}

// An agentKey signs through an ssh-agent.
type agentKey struct {
	public ed25519.PublicKey
	dial   func() (net.Conn, error)

	mu   sync.Mutex // guards conn, and one exchange at a time on it
	conn net.Conn   // nil before the first signature and after a failure
}

func (k *agentKey) Public() crypto.PublicKey { return k.public }

// Sign asks the agent for a signature of a message that is not hashed, and checks what comes back.
func (k *agentKey) Sign(_ io.Reader, msg []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 {
		return nil, errors.New("ssh-agent: Ed25519 signs messages, not hashes")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	sig, err := k.exchange(msg)
	if err != nil && k.conn != nil {
		k.conn.Close()
		k.conn = nil
		sig, err = k.exchange(msg) // the agent may have been restarted
	}
	if err != nil {
		return nil, fmt.Errorf("ssh-agent: %w", err)
	}
	if !ed25519.Verify(k.public, msg, sig) {
		return nil, errors.New("ssh-agent: its signature does not verify")
	}
	return sig, nil
}

// exchange makes one signature on the connection, which it opens if there is none. The caller holds
// mu.
func (k *agentKey) exchange(msg []byte) ([]byte, error) {
	if k.conn == nil {
		if k.dial == nil {
			return nil, errors.New("the key is in an agent, and no agent is given")
		}
		conn, err := k.dial()
		if err != nil {
			return nil, err
		}
		k.conn = conn
	}
	if err := k.conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return nil, err
	}
	public, err := ssh.NewPublicKey(k.public)
	if err != nil {
		return nil, err
	}
	sig, err := agent.NewClient(k.conn).Sign(public, msg)
	if err != nil {
		return nil, err
	}
	if sig.Format != ssh.KeyAlgoED25519 {
		return nil, fmt.Errorf("a signature of format %q: want %s", sig.Format, ssh.KeyAlgoED25519)
	}
	return sig.Blob, nil
}
