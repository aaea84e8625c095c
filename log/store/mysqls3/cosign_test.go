package mysqls3_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/poclog/poclog/internal/peers"
	"github.com/poclog/poclog/log/store/mysqls3"
)

// checkpointOf returns a checkpoint of a size with one signature line.
func checkpointOf(size int, root byte) []byte {
	hash := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{root}, 32))
	return fmt.Appendf(nil, "log.test/2026\n%d\n%s\n\n%s", size, hash, signatureLine("log.test/2026", 0, 1))
}

// signatureLine is a line of a key, made at some time.
func signatureLine(name string, key, time byte) []byte {
	return fmt.Appendf(nil, "— %s %s\n", name, base64.StdEncoding.EncodeToString([]byte{1, 2, 3, key, time, 6, 7, 8}))
}

// Cosignatures that two front ends add at once are all in the published checkpoint, once each. None is
// added to another tree's, and no smaller tree takes the place of a larger one.
func TestConformanceOfCosignaturesThatFrontEndsAddAtOnce(t *testing.T) {
	st := newStation(t)
	c := st.config(t)
	open := func() *mysqls3.Target {
		s, err := mysqls3.OpenTarget(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	fronts := []*mysqls3.Target{open(), open()}
	published := func() []byte {
		b, err := st.s3.Object(c.Tiles.Name, c.Tiles.Prefix+"checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	base := checkpointOf(5, 5)
	if err := fronts[0].Publish(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	const auditors = 10
	st.proxy.Set(times(5, http.MethodPut, peers.Lose))
	var both sync.WaitGroup
	for i, s := range fronts {
		both.Go(func() {
			for n := range byte(auditors) {
				// The first of them is asked by both.
				name := fmt.Sprintf("auditor-%d", n*byte(i))
				var err error
				for range 10 { // the other may be faster for a while
					if err = s.Cosign(t.Context(), base, [][]byte{signatureLine(name, n*byte(i), byte(i)), signatureLine("both", byte(100+n), byte(i))}); err == nil {
						break
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	got := published()
	if !bytes.HasPrefix(got, base) {
		t.Errorf("%q: want the base with lines after it", got)
	}
	for n := range auditors {
		if n := bytes.Count(got, fmt.Appendf(nil, "— auditor-%d ", n)); n != 1 {
			t.Errorf("%d lines of an auditor: want 1", n)
		}
	}
	if n := bytes.Count(got, []byte("— both ")); n != auditors {
		t.Errorf("%d lines of keys that both add: want %d", n, auditors)
	}
	larger := checkpointOf(6, 6)
	if err := fronts[1].Publish(t.Context(), larger); err != nil {
		t.Fatal(err)
	}
	if err := fronts[0].Cosign(t.Context(), base, [][]byte{signatureLine("late", 1, 1)}); err != nil || !bytes.Equal(published(), larger) {
		t.Errorf("%v: %q: want the larger one as it was", err, published())
	}
	if err := fronts[0].Publish(t.Context(), got); err == nil || !bytes.Equal(published(), larger) {
		t.Errorf("%v: %q: want no smaller one", err, published())
	}
}
