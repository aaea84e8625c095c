package index_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/poclog/poclog/verify/index"
)

func TestMalformedLeafHasNoNames(t *testing.T) {
	if names, err := index.Names([]byte(`{"v":1,"kind":"proof"}`)); err == nil {
		t.Errorf("%q", names)
	}
}

func TestLengthsOfNames(t *testing.T) {
	for _, c := range []struct {
		length int
		long   bool
	}{{index.MaxName, false}, {index.MaxName + 1, true}} {
		if err := index.ParseName(strings.Repeat("a", c.length)); err == nil || strings.HasPrefix(err.Error(), "name of") != c.long {
			t.Errorf("%d bytes: %v", c.length, err)
		}
	}
}

// A map whose root was made of a path that does not fall: the log may sign any root.
func TestPathsFallAtEveryStep(t *testing.T) {
	key, v := index.KeyOf("config"), value(1)
	for _, c := range []struct {
		bits []byte
		good bool
	}{{[]byte{5, 4}, true}, {[]byte{5, 5}, false}, {[]byte{4, 5}, false}} {
		proof := append([]byte("mptproof\x01"), v[:]...)
		root := sha256.Sum256(append(key[:], v[:]...))
		for _, bit := range c.bits {
			sibling := sha256.Sum256([]byte{bit})
			proof = append(append(proof, bit), sibling[:]...)
			left, right := root[:], sibling[:]
			if key[bit/8]>>(7-bit%8)&1 == 1 {
				left, right = right, left
			}
			root = sha256.Sum256(append(append(append([]byte(nil), left...), right...), bit))
		}
		if _, ok, err := index.Lookup(root, "config", proof); ok != c.good || (err == nil) != c.good {
			t.Errorf("bits %v: %t, %v", c.bits, ok, err)
		}
	}
}

func TestLongProofsAreRefusedFirst(t *testing.T) {
	_, _, err := index.Lookup([32]byte{}, "config", append([]byte("mptproof\x01"), make([]byte, index.MaxProof)...))
	if err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Error(err)
	}
}
