package tdx_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

// roots is the realm of production: the Intel SGX Root CA.
var roots = tdx.Roots{mustDigest("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"): true}

func mustDigest(s string) poclog.Digest {
	d, err := poclog.ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

// judge runs every check of a quote, with collateral if there is any.
func judge(item []byte, col *poclog.Collateral, roots tdx.Roots, at time.Time) (*poclog.TCB, error) {
	q, err := tdx.ParseQuote(item)
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{
		func() error { return q.CheckChain(roots, at) }, q.CheckSignature, func() error { return q.SecondOpinion(at) }, q.CheckNoDebug,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if col == nil {
		return nil, nil
	}
	c, err := tdx.OpenCollateral(q, col, at)
	if err != nil {
		return nil, err
	}
	if err := c.CheckRevocation(q); err != nil {
		return nil, err
	}
	return c.TCB(q)
}

func wantCheck(t *testing.T, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("refused by %q (%v): want %q", got, err, want)
	}
}

func TestRealQuotesVerifyWithoutCollateral(t *testing.T) {
	for i, at := range []time.Time{realdata.QuoteTime, realdata.QuoteV5Time} {
		item, err := tdx.TrimQuote(realdata.Quotes()[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := judge(item, nil, roots, at); err != nil {
			t.Errorf("quote %d: %v", i, err)
		}
		_, err = judge(item, nil, roots, time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC))
		wantCheck(t, err, verify.TEEChain)
		_, err = judge(item, nil, roots, time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC))
		wantCheck(t, err, verify.TEEChain)
		_, err = judge(item, nil, tdx.Roots{{1}: true}, at)
		wantCheck(t, err, verify.TEEChain)
	}
}

func TestRealPlatformsStandAsIntelSays(t *testing.T) {
	for _, real := range []struct {
		name string
		load func(realdata.T) (*poclog.Bundle, *poclog.Collateral)
		at   time.Time
	}{{"gce", realdata.GCE, realdata.GCETime}, {"azure", realdata.Azure, realdata.AzureTime}} {
		t.Run(real.name, func(t *testing.T) {
			b, col := real.load(t)
			tcb, err := judge(b.Get(poclog.ItemTDXQuote), col, roots, real.at)
			if err != nil {
				t.Fatal(err)
			}
			if tcb.Status != "UpToDate" {
				t.Errorf("status %+v", tcb)
			}
			for _, at := range []time.Time{real.at.AddDate(0, 0, 60), real.at.AddDate(0, 0, -5)} {
				_, err := judge(b.Get(poclog.ItemTDXQuote), col, roots, at)
				wantCheck(t, err, verify.Collateral)
			}
			for _, it := range col.Items {
				without := new(poclog.Collateral)
				for _, o := range col.Items {
					if o.Kind != it.Kind {
						without = without.With(o)
					}
				}
				_, err := judge(b.Get(poclog.ItemTDXQuote), without, roots, real.at)
				wantCheck(t, err, verify.Collateral)
			}
			from, to, err := tdx.Validity(col)
			if err != nil || real.at.Before(from.Add(-24*time.Hour)) || real.at.After(to) {
				t.Errorf("valid from %s to %s: %v", from, to, err)
			}
		})
	}
}

func TestCollateralOfAnotherPlatformIsRefused(t *testing.T) {
	azure, _ := realdata.Azure(t)
	_, col := realdata.GCE(t)
	a, _ := tdx.ParseQuote(azure.Get(poclog.ItemTDXQuote))
	gce, _ := realdata.GCE(t)
	g, _ := tdx.ParseQuote(gce.Get(poclog.ItemTDXQuote))
	if a.Platform.FMSPC == g.Platform.FMSPC {
		t.Skip("skipped: both captures are of one FMSPC")
	}
	_, err := judge(azure.Get(poclog.ItemTDXQuote), col, roots, realdata.GCETime)
	wantCheck(t, err, verify.Collateral)
}

// Every byte of a quote is signed, or is one that anybody can change without changing what the
// quote says. The list is complete.
func TestEveryByteIsSignedOrListed(t *testing.T) {
	item, err := tdx.TrimQuote(realdata.Quotes()[0])
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.ParseQuote(item)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for n := range 4 * len(item) {
		i := n / 4
		flipped := bytes.Clone(item)
		flipped[i] ^= []byte{0x01, 0x07, 0x20, 0x80}[n%4] // 0x07 makes a line feed a carriage return
		if _, err := judge(flipped, nil, roots, realdata.QuoteTime); err != nil {
			continue
		}
		accepted++
		again, err := tdx.ParseQuote(flipped)
		if err != nil || again.ID() != q.ID() || i < len(item)-len(chainText(item)) {
			t.Errorf("byte %d (%#02x): changed and accepted outside the PEM text", i, item[i])
		}
	}
	// What nothing protects is PEM's white space.
	if accepted == 0 || accepted > 100 {
		t.Errorf("%d changes accepted: want those of the line breaks in the chain's PEM", accepted)
	}
}

func chainText(item []byte) []byte { return item[bytes.Index(item, []byte("-----BEGIN")):] }

// A chain that was parsed before is taken for the text's; of a text that is not known it is parsed.
func TestChainsThatAreKnownAreNotParsedAgain(t *testing.T) {
	item, err := tdx.TrimQuote(realdata.Quotes()[0])
	if err != nil {
		t.Fatal(err)
	}
	first, err := tdx.ParseQuote(item)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tdx.ParseQuoteKnowing(item, func([]byte) *tdx.Chain { return nil })
	if err != nil || second.PCK == nil || second.PCK == first.PCK || !second.PCK.Equal(first.PCK) {
		t.Errorf("not known: %v", err)
	}
	asked := 0
	third, err := tdx.ParseQuoteKnowing(item, func(text []byte) *tdx.Chain {
		asked++
		if !bytes.Equal(text, first.Text) {
			t.Error("asked for another text than the chain's")
		}
		return &first.Chain
	})
	if err != nil || asked != 1 || third.PCK != first.PCK || third.CA != first.CA || third.Root != first.Root || third.Platform != first.Platform || !bytes.Equal(third.Text, first.Text) {
		t.Errorf("known: asked %d times, %v", asked, err)
	}
}

func TestPaddingIsCutAndNotAccepted(t *testing.T) {
	item := realdata.Quotes()[0]
	raw := append(bytes.Clone(item), make([]byte, 3000)...)
	if cut, err := tdx.TrimQuote(raw); err != nil || !bytes.Equal(cut, item) {
		t.Fatalf("padding is not cut: %v", err)
	}
	_, err := tdx.ParseQuote(raw)
	wantCheck(t, err, verify.Format)
	dirty := append(bytes.Clone(item), 0, 0, 1)
	_, err = tdx.TrimQuote(dirty)
	wantCheck(t, err, verify.Format)
}

func TestCraftedLengthsAreRefused(t *testing.T) {
	item, err := tdx.TrimQuote(realdata.Quotes()[0])
	if err != nil {
		t.Fatal(err)
	}
	const signedData = 48 + 584
	for size := uint32(0); size < 200; size++ {
		crafted := bytes.Clone(item)
		binary.LittleEndian.PutUint32(crafted[signedData:], size)
		_, err := tdx.ParseQuote(crafted)
		wantCheck(t, err, verify.Format)
		_, err = tdx.ParseQuote(crafted[:signedData+4+int(size)])
		wantCheck(t, err, verify.Format)
	}
	v5, err := tdx.TrimQuote(realdata.Quotes()[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint32{0, 1, 583, 585, 647, 649, 1 << 31, 1<<32 - 1} {
		crafted := bytes.Clone(v5)
		binary.LittleEndian.PutUint32(crafted[50:], size)
		_, err := tdx.ParseQuote(crafted)
		wantCheck(t, err, verify.Format)
	}
	for n := range item {
		_, err := tdx.ParseQuote(item[:n])
		wantCheck(t, err, verify.Format)
	}
}

// ECDSA's s and its negative both verify: the raw bytes of a quote are no name for it, its signed
// part is.
func TestMalleatedQuoteKeepsItsIdentity(t *testing.T) {
	item, err := tdx.TrimQuote(realdata.Quotes()[0])
	if err != nil {
		t.Fatal(err)
	}
	malleated := bytes.Clone(item)
	copy(malleated[48+584+4+32:], negate(item[48+584+4+32:][:32]))
	if _, err := judge(malleated, nil, roots, realdata.QuoteTime); err != nil {
		t.Fatal(err)
	}
	a, _ := tdx.ParseQuote(item)
	b, _ := tdx.ParseQuote(malleated)
	if sha256.Sum256(item) == sha256.Sum256(malleated) || a.ID() != b.ID() {
		t.Error("want other bytes and the same identity")
	}
}

func FuzzParseQuote(f *testing.F) {
	for _, raw := range realdata.Quotes() {
		item, err := tdx.TrimQuote(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(item)
		f.Add(item[:700])
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		q, err := tdx.ParseQuote(item)
		if err != nil {
			if _, ok := verify.CheckOf(err); !ok {
				t.Errorf("%v: names no check", err)
			}
			return
		}
		q.ID()
		_ = q.CheckSignature()
		_ = q.SecondOpinion(realdata.QuoteTime)
		_ = q.CheckChain(roots, realdata.QuoteTime)
	})
}
