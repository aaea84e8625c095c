package witness

import (
	"crypto/rand"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// counting counts what is verified.
type counting struct {
	note.Verifier
	n int
}

func (c *counting) Verify(msg, sig []byte) bool {
	c.n++
	return c.Verifier.Verify(msg, sig)
}

// A signature that was good is not verified again. Nothing else is taken for it: another message,
// another signature, or bytes that moved from one to the other.
func TestOnlyTheSameSignatureIsRemembered(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Verifier: verifier}
	v := &remembering{Verifier: c}
	msg := []byte("a checkpoint")
	sig, err := signer.Sign(msg)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(msg, sig []byte, want bool, verified int) {
		t.Helper()
		c.n = 0
		if got := v.Verify(msg, sig); got != want || c.n != verified {
			t.Errorf("%v, verified %d times: want %v, %d", got, c.n, want, verified)
		}
	}
	other := []byte("another checkpoint")
	otherSig, err := signer.Sign(other)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte(nil), sig...)
	bad[0] ^= 1
	ask(msg, bad, false, 1)
	ask(msg, bad, false, 1)
	ask(msg, sig, true, 1)
	ask(msg, sig, true, 0)
	ask(msg, bad, false, 1)
	ask(other, sig, false, 1)
	ask(append(msg[:len(msg):len(msg)], sig[0]), sig[1:], false, 1)
	ask(msg, sig, true, 0)
	ask(other, otherSig, true, 1)
	ask(other, otherSig, true, 0)
	ask(msg, sig, true, 1)
}
