package mysqls3

import (
	"bytes"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/peers"
)

// What is written without the SDK is found by it, under the same key, and what is there is not replaced.
// What goes wrong is the SDK's to explain.
func TestConformanceOfFastPuts(t *testing.T) {
	server := peers.NewS3(t)
	server.Bucket(t, "tiles")
	for _, prefix := range []string{"", "a/log/", "a b+ü~%/"} {
		b, err := openBucket(t.Context(), Bucket{Endpoint: server.URL, Region: peers.Region, Name: "tiles", Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		e, file, other := newEvidence(b), []byte("evidence"), []byte("other evidence")
		try := func(body []byte) bool {
			return e.fast.try(t.Context(), b, "evidence/of/a/digest", body, poclog.Sum(body), evidenceType)
		}
		if !try(file) {
			t.Errorf("prefix %q: it is not written", prefix)
		}
		if try(other) {
			t.Errorf("prefix %q: it is replaced", prefix)
		}
		if o, err := b.get(t.Context(), "evidence/of/a/digest", 100); err != nil || !bytes.Equal(o.body, file) {
			t.Errorf("prefix %q: %q, %v", prefix, o.body, err)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	b, err := openBucket(t.Context(), Bucket{Endpoint: server.URL, Region: peers.Region, Name: "tiles"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newEvidence(b).Put(t.Context(), []byte("more evidence")); err == nil || !strings.Contains(err.Error(), "access is denied") {
		t.Errorf("with a wrong key: %v", err)
	}
}
