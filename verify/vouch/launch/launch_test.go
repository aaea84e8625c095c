package launch_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gce-tcb-verifier/proto/endorsement"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
	"github.com/poclog/poclog/verify/vouch/launch"
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at       = start.AddDate(0, 5, 0)
	google   = gce.New("launch test", start)
	garage   = gce.New("a garage", start)
	firmware = gce.NewFirmware("launch test", "firmware")
	mrtd     = firmware.MRTD(gce.MemorySizes[1])
	roots    = rootsOf(google)
)

func rootsOf(c *gce.Cloud) chain.Roots {
	for _, r := range c.Roots() {
		if r.Use == poclog.RootGCELaunch {
			return chain.Roots{r.SHA256: true}
		}
	}
	return nil
}

func endorse(t testing.TB, c *gce.Cloud, change func(*endorsement.VMGoldenMeasurement)) poclog.CollateralItem {
	t.Helper()
	it := c.EndorseAs(firmware, change)
	return *it
}

func wantRefused(t *testing.T, name string, err error, why string) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != verify.TEELaunch || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v: want %s, with %q", name, err, verify.TEELaunch, why)
	}
}

// A vector is a statement, and whether it speaks for a launch measurement.
type vector struct {
	Desc   string `json:"desc"`
	Input  string `json:"input"` // VMLaunchEndorsement in base64
	Chain  string `json:"chain"` // what stands beside it: PEM
	Root   string `json:"root"`  // digest that must be above its signer
	MRTD   string `json:"mrtd"`
	At     string `json:"at"`
	Expect string `json:"expect"`
}

func (v *vector) read() (from, to time.Time, err error) {
	body, err := base64.StdEncoding.DecodeString(v.Input)
	if err != nil {
		return from, to, err
	}
	root, err := poclog.ParseDigest(v.Root)
	if err != nil {
		return from, to, err
	}
	m, err := hex.DecodeString(v.MRTD)
	if err != nil {
		return from, to, err
	}
	when, err := time.Parse(time.RFC3339, v.At)
	if err != nil {
		return from, to, err
	}
	holds, err := launch.CheckGCE(&poclog.CollateralItem{Kind: poclog.LaunchEndorsement, Chain: []byte(v.Chain), Body: body}, m, chain.Roots{root: true}, when)
	return holds.Issued, holds.Until, err
}

// reframed takes a statement apart and puts it together again.
func reframed(t testing.TB, body []byte, change func(*endorsement.VMLaunchEndorsement)) []byte {
	t.Helper()
	outer := new(endorsement.VMLaunchEndorsement)
	if err := proto.Unmarshal(body, outer); err != nil {
		t.Fatal(err)
	}
	change(outer)
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(outer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// statements are vectors of CheckGCE with the reason why each is refused; "" passes.
func statements(t *testing.T) map[string]struct {
	vector
	why string
} {
	all := make(map[string]struct {
		vector
		why string
	})
	var listed poclog.Digest
	for r := range roots {
		listed = r
	}
	good := endorse(t, google, nil)
	add := func(name, desc, why string, it poclog.CollateralItem, change func(*vector)) {
		v := vector{
			Desc: desc, Input: base64.StdEncoding.EncodeToString(it.Body), Chain: string(it.Chain), Root: listed.String(), MRTD: hex.EncodeToString(mrtd[:]),
			At: at.Format(time.RFC3339), Expect: "refused",
		}
		if why == "" {
			v.Expect = "ok"
		}
		if change != nil {
			change(&v)
		}
		all[name] = struct {
			vector
			why string
		}{v, why}
	}
	as := func(name, desc, why string, change func(*endorsement.VMGoldenMeasurement)) {
		add(name, desc, why, endorse(t, google, change), nil)
	}
	framed := func(name, desc, why string, change func(*endorsement.VMLaunchEndorsement)) {
		it := good
		it.Body = reframed(t, good.Body, change)
		add(name, desc, why, it, nil)
	}
	beside := func(name, desc, why string, pem []byte) {
		it := good
		it.Chain = pem
		add(name, desc, why, it, nil)
	}
	when := func(name, desc, why string, then time.Time) {
		add(name, desc, why, good, func(v *vector) { v.At = then.Format(time.RFC3339) })
	}
	newer := timestamppb.New(time.Date(2024, 8, 2, 0, 0, 1, 0, time.UTC))
	older := timestamppb.New(time.Date(2024, 8, 2, 0, 0, 0, 0, time.UTC))

	add("statement", "a statement that names the launch measurement", "", good, nil)
	for i, size := range gce.MemorySizes {
		m := firmware.MRTD(size)
		add("statement-"+string(rune('1'+i)), "each of its launch measurements", "", good, func(v *vector) { v.MRTD = hex.EncodeToString(m[:]) })
	}
	add("other-mrtd", "another launch measurement", "names 3 launch measurements, and not MRTD", good, func(v *vector) { v.MRTD = strings.Repeat("00", 48) })
	add("empty-mrtd", "a measurement of no octets, which an empty one in the statement would be", "names 3 launch measurements", endorse(t, google, func(g *endorsement.VMGoldenMeasurement) {
		g.Tdx.Measurements = append(g.Tdx.Measurements, &endorsement.VMTdx_Measurement{})
	}), func(v *vector) { v.MRTD = "" })
	as("short-mrtd", "a measurement that is cut", "names 2 launch measurements", func(g *endorsement.VMGoldenMeasurement) { g.Tdx.Measurements[1].Mrtd = mrtd[:47] })
	as("no-tdx", "a statement on other VMs", "names 0 launch measurements", func(g *endorsement.VMGoldenMeasurement) { g.Tdx = nil })

	as("no-provenance", "neither changelist nor commit since August 2024", "built from", func(g *endorsement.VMGoldenMeasurement) {
		g.Timestamp, g.ClSpec, g.Commit = newer, 0, nil
	})
	as("no-provenance-then", "neither before that", "", func(g *endorsement.VMGoldenMeasurement) { g.Timestamp, g.ClSpec, g.Commit = older, 0, nil })
	as("no-time", "without a time", "", func(g *endorsement.VMGoldenMeasurement) { g.Timestamp, g.ClSpec, g.Commit = nil, 0, nil })
	as("changelist-alone", "a changelist without a commit", "", func(g *endorsement.VMGoldenMeasurement) { g.Timestamp, g.Commit = newer, nil })
	as("commit-alone", "a commit without a changelist", "", func(g *endorsement.VMGoldenMeasurement) { g.Timestamp, g.ClSpec = newer, 0 })

	as("no-signer", "without its signer's certificate", "signer: ", func(g *endorsement.VMGoldenMeasurement) { g.Cert = nil })
	other := endorse(t, garage, nil)
	as("others-signer", "with the certificate of another cloud's signer", "not signed by", func(g *endorsement.VMGoldenMeasurement) {
		inner := new(endorsement.VMGoldenMeasurement)
		if err := proto.Unmarshal(goldenOf(t, other.Body), inner); err != nil {
			t.Fatal(err)
		}
		g.Cert = inner.Cert
	})
	add("garage", "signed by a cloud of one's own", "not one that the policy lists", other, nil)
	framed("signature-flipped", "a bit of the signature changed", "not signed by", func(e *endorsement.VMLaunchEndorsement) { e.Signature = flip(e.Signature, 9) })
	framed("signature-missing", "unsigned", "not signed by", func(e *endorsement.VMLaunchEndorsement) { e.Signature = nil })
	framed("statement-flipped", "a bit of the measurement changed under the signature", "not signed by", func(e *endorsement.VMLaunchEndorsement) {
		e.SerializedUefiGolden = bytes.Replace(e.SerializedUefiGolden, mrtd[:], flip(mrtd[:], 0), 1)
	})
	framed("statement-garbage", "no protobuf within", "proto", func(e *endorsement.VMLaunchEndorsement) { e.SerializedUefiGolden = []byte{0xff} })
	garbage := good
	garbage.Body = []byte{0xff}
	add("garbage", "no protobuf", "proto", garbage, nil)
	long := good
	long.Body = append(slices.Clone(good.Body), make([]byte, 1<<17)...)
	add("long", "over 128 KiB", "want at most 131072", long, func(v *vector) { v.Input = base64.StdEncoding.EncodeToString(long.Body) })

	beside("no-root", "no root beside it", "0 certificates beside it", nil)
	beside("root-twice", "the root twice", "2 certificates beside it", slices.Concat(good.Chain, good.Chain))
	beside("root-tail", "something after the root", "the root beside it", append(slices.Clone(good.Chain), 'x'))
	beside("root-other", "another cloud's root", "not one that the policy lists", other.Chain)

	when("first-second", "in the first second of its certificates", "", start)
	when("before", "before its certificates", "valid from", start.Add(-time.Second))
	when("last-second", "in the last second of its certificates", "", start.AddDate(30, 0, 0))
	when("after", "after its certificates", "valid from", start.AddDate(30, 0, 0).Add(time.Second))
	return all
}

func goldenOf(t testing.TB, body []byte) (golden []byte) {
	reframed(t, body, func(e *endorsement.VMLaunchEndorsement) { golden = e.SerializedUefiGolden })
	return golden
}

func TestStatementIsHeldToSignatureChainAndTime(t *testing.T) {
	for name, c := range statements(t) {
		from, to, err := c.read()
		if c.why != "" {
			wantRefused(t, name, err, c.why)
		} else if err != nil || !from.Equal(start) || !to.Equal(start.AddDate(30, 0, 0)) {
			t.Errorf("%s: %v, from %s to %s", name, err, from, to)
		}
	}
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		all := make(map[string]vector)
		for name, c := range statements(t) {
			all[name] = c.vector
		}
		delete(all, "long") // it is of no interest beside its length
		vectors.Write(t, "testdata", all)
	}
	vectors.Each(t, "testdata", func(t *testing.T, v vector) {
		if _, _, err := v.read(); (v.Expect == "ok") != (err == nil) {
			t.Errorf("%s: %v: want %s", v.Desc, err, v.Expect)
		}
	})
}

func TestCarriedRootIsAListedOne(t *testing.T) {
	good := endorse(t, google, nil)
	if root := launch.CarriedRoot(good.Body, roots); !bytes.Equal(root, good.Chain) {
		t.Errorf("%q", root)
	}
	bundled := endorse(t, google, func(g *endorsement.VMGoldenMeasurement) {
		g.CaBundle = slices.Concat(endorse(t, garage, nil).Chain, g.CaBundle)
	})
	if root := launch.CarriedRoot(bundled.Body, roots); !bytes.Equal(root, good.Chain) {
		t.Errorf("behind another's: %q", root)
	}
	for name, body := range map[string][]byte{"another's": endorse(t, garage, nil).Body, "garbage": {0xff}, "nothing": nil, "too long": make([]byte, 1<<17+1)} {
		if root := launch.CarriedRoot(body, roots); root != nil {
			t.Errorf("%s: %q", name, root)
		}
	}
}

func TestMRTDsAreThoseOfFullSize(t *testing.T) {
	body := endorse(t, google, func(g *endorsement.VMGoldenMeasurement) { g.Tdx.Measurements[1].Mrtd = mrtd[:47] }).Body
	first, last := firmware.MRTD(gce.MemorySizes[0]), firmware.MRTD(gce.MemorySizes[2])
	if got := launch.MRTDs(body); len(got) != 2 || !bytes.Equal(got[0], first[:]) || !bytes.Equal(got[1], last[:]) {
		t.Errorf("%x", got)
	}
	for name, body := range map[string][]byte{"garbage": {0xff}, "nothing": nil, "garbage within": reframed(t, body, func(e *endorsement.VMLaunchEndorsement) { e.SerializedUefiGolden = []byte{0xff} })} {
		if got := launch.MRTDs(body); got != nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// Nothing in a statement can be changed: what is not in the signed part is the signature.
func TestEveryByteOfAStatementCounts(t *testing.T) {
	good := endorse(t, google, nil)
	for i := range good.Body {
		it := good
		it.Body = flip(good.Body, i)
		if _, err := launch.CheckGCE(&it, mrtd[:], roots, at); err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
}

func FuzzCheckGCE(f *testing.F) {
	good := endorse(f, google, nil)
	f.Add(good.Body)
	f.Add([]byte{10, 0, 18, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		it := good
		it.Body = b
		launch.MRTDs(b)
		launch.CarriedRoot(b, roots)
		if _, err := launch.CheckGCE(&it, mrtd[:], roots, at); err == nil && !bytes.Contains(b, goldenOf(t, good.Body)) {
			t.Errorf("%x is accepted", b)
		}
	})
}
