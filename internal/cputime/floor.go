package cputime

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"runtime"
	"testing"
	"time"

	"filippo.io/mldsa"
)

// Work and its floor take turns of so much processor time.
const workTurn, floorTurn = 200 * time.Millisecond, 50 * time.Millisecond

// Ratio runs a bench's work in turns with its floor, which is work that nobody can leave out. It
// reports the processor time of each, and how many times the floor the work takes. What the work
// leaves to the garbage collector is the work's.
func Ratio(b *testing.B, floor, work func()) {
	b.Helper()
	work()
	floor()
	runtime.GC()
	var worked, floored time.Duration
	works, floors := 0, 0
	begun := Used(b)
	turn := func() {
		b.StopTimer()
		defer b.StartTimer()
		runtime.GC()
		worked += Used(b) - begun
		for begun = Used(b); Used(b)-begun < floorTurn; floors++ {
			floor()
		}
		floored += Used(b) - begun
		begun = Used(b)
	}
	for b.Loop() {
		work()
		if works++; Used(b)-begun > workTurn {
			turn()
		}
	}
	turn()
	each, least := float64(worked)/float64(works), float64(floored)/float64(floors)
	b.ReportMetric(each/1e3, "cpu-µs/op")
	b.ReportMetric(least/1e3, "floor-µs")
	b.ReportMetric(each/least, "×floor")
}

// Of is the processor time that one run takes, out of many.
func Of(tb testing.TB, run func()) time.Duration {
	tb.Helper()
	const runs = 500
	begun := Used(tb)
	for range runs {
		run()
	}
	return (Used(tb) - begun) / runs
}

// Several is a floor of n signatures, each by a key of its own.
func Several(tb testing.TB, n int, kind func(testing.TB) func()) func() {
	tb.Helper()
	var all []func()
	for range n {
		all = append(all, kind(tb))
	}
	return All(all...)
}

// All is several floors as one.
func All(runs ...func()) func() {
	return func() {
		for _, run := range runs {
			run()
		}
	}
}

var message, digest = []byte("x"), sha256.Sum256([]byte("x"))

// P256 returns the verification of one ECDSA signature on P-256.
func P256(tb testing.TB) func() {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
			tb.Fatal("refused")
		}
	}
}

// Ed25519 returns the verification of one Ed25519 signature.
func Ed25519(tb testing.TB) func() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	sig := ed25519.Sign(private, message)
	return func() {
		if !ed25519.Verify(public, message, sig) {
			tb.Fatal("refused")
		}
	}
}

// MLDSA44 returns the verification of one ML-DSA-44 signature.
func MLDSA44(tb testing.TB) func() {
	k, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		tb.Fatal(err)
	}
	sig, err := k.Sign(nil, message, nil)
	if err != nil {
		tb.Fatal(err)
	}
	public := k.PublicKey()
	return func() {
		if err := mldsa.Verify(public, message, sig, nil); err != nil {
			tb.Fatal(err)
		}
	}
}

// RSA returns the verification of one RSA signature by a key of so many bits.
func RSA(bits int) func(testing.TB) func() {
	return func(tb testing.TB) func() {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			tb.Fatal(err)
		}
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
		if err != nil {
			tb.Fatal(err)
		}
		return func() {
			if err := rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest[:], sig); err != nil {
				tb.Fatal(err)
			}
		}
	}
}
