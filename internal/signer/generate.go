package signer

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/poclog/poclog"
)

// Generate makes an Ed25519 key and returns its file, in PEM: PKCS #8, or encrypted as sigstore's
// tools do it if there is a password.
func Generate(password []byte) (file []byte, key *poclog.PublisherKey, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if key, err = poclog.NewPublisherKey(public); err != nil {
		return nil, nil, err
	}
	if len(password) == 0 {
		file, err = cryptoutils.MarshalPrivateKeyToPEM(private)
		return file, key, err
	}
	der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(private, func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("encrypt key: %w", err)
	}
	return cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der), key, nil
}
