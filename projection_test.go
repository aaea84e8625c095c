package poclog_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

// projectable are leaves that between them have every member.
func projectable(t testing.TB) map[string][]byte {
	bare := sampleEntry()
	bare.Boot, bare.TPM, bare.Fresh, bare.Place, bare.Instance, bare.CVM.TCB, bare.CVM.RTMRs = nil, nil, nil, nil, "", nil, nil
	bare.Publishers, bare.Evidence.Envelope = nil, poclog.Blob{}
	azure := sampleSNPEntry()
	azure.Instance = "azure:vm:01234567-89ab-cdef-0123-456789abcdef"
	azure.Place.Region.By = []string{"aia-hint"}
	more := sampleEntry()
	more.Chassis = append(more.Chassis, "intel:tdx:ppid:"+"2112131415161718191a1b1c1d1e1f20")
	more.Checks = more.Checks[:4]
	more.Keys = append(more.Keys, poclog.Identity("tpm:ek:"+strings.Repeat("1", 64)), poclog.Identity("tpm:ek:"+strings.Repeat("2", 64)))
	endorsed := sampleEndorsedEntry()
	endorsed.Endorsements[1].Says = "rack 8"
	return map[string][]byte{
		"full": must(t, sampleEntry()), "snp": must(t, azure), "bare": must(t, bare), "more": must(t, more), "endorsed": must(t, endorsed),
	}
}

func TestProjectionsAreWhatTheParserReads(t *testing.T) {
	for name, leaf := range projectable(t) {
		e, err := poclog.ParseEntry(leaf)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, ok := poclog.ScanEntry(leaf)
		if !ok {
			t.Errorf("%s: the fast reader does not take it", name)
		}
		if want := e.Projection(); !reflect.DeepEqual(p, want) {
			t.Errorf("%s: %+v\nwant %+v", name, p, want)
		}
	}
}

// What is left to the parser comes out alike.
func TestProjectionsOfStringsWithEscapes(t *testing.T) {
	e := sampleEntry()
	e.Place.Zone.Value = `a"b\c`
	leaf := must(t, e)
	if _, ok := poclog.ScanEntry(leaf); ok {
		t.Error("the fast reader takes escapes")
	}
	var p poclog.Projection
	if kind, err := p.Read(leaf); err != nil || kind != poclog.LeafProof || string(p.Zone.Value) != `a"b\c` {
		t.Errorf("kind %d, %v, zone %q", kind, err, p.Zone.Value)
	}
}

func TestProjectionsOfOtherLeaves(t *testing.T) {
	config := &poclog.Config{Policy: poclog.BlobOf([]byte("policy")), Software: "poclog 1", Time: poclog.UnixTime(1700000000)}
	var p poclog.Projection
	if kind, err := p.Read(must(t, config)); err != nil || kind != poclog.LeafConfig || p.Appraised != 1700000000 {
		t.Errorf("config: kind %d, %v", kind, err)
	}
	if kind, err := p.Read([]byte(`{"v":2,"kind":"proof"}`)); err != nil || kind != poclog.LeafUnknown {
		t.Errorf("a later version: kind %d, %v", kind, err)
	}
	for _, leaf := range []string{`{"v":1,"kind":"proof"}`, `{"v":1,"kind":"config"}`, `{"v":1,"kind":"proof","appraisal":0`} {
		if _, err := p.Read([]byte(leaf)); err == nil {
			t.Errorf("%s was taken", leaf)
		}
	}
	if _, err := p.Read(make([]byte, poclog.MaxEntry+1)); err == nil {
		t.Error("a leaf that is too large was taken")
	}
}

// Times are read without the library: every day of some years, and what is none.
func TestProjectedTimes(t *testing.T) {
	e := sampleEntry()
	leaf := string(must(t, e))
	at := strings.LastIndex(leaf, `"appraised":"`) + len(`"appraised":"`)
	for _, year := range []int{0, 1969, 1999, 2000, 2023, 2024, 2100, 9999} {
		for month := 0; month <= 13; month++ {
			for day := 0; day <= 32; day++ {
				for _, clock := range []string{"00:00:00", "23:59:59", "24:00:00", "00:60:00", "00:00:60"} {
					if clock != "00:00:00" && day != 1 {
						continue
					}
					changed := leaf[:at] + fmt.Sprintf("%04d-%02d-%02dT%s", year, month, day, clock) + leaf[at+19:]
					compareProjection(t, []byte(changed))
				}
			}
		}
	}
}

// What no identity is does not stand in the list of identities.
func TestProjectedEndorsementsAreOfTheChassis(t *testing.T) {
	leaf := string(must(t, sampleEndorsedEntry()))
	const of = `"of":"intel:tdx:ppid:1112131415161718191a1b1c1d1e1f20"`
	for _, other := range []string{`"of":","`, `"of":""`, `"of":"intel:tdx:ppid:2112131415161718191a1b1c1d1e1f20"`, `"of":"1112131415161718191a1b1c1d1e1f20"`} {
		changed := strings.Replace(leaf, of, other, 1)
		if _, ok := poclog.ScanEntry([]byte(changed)); ok || changed == leaf {
			t.Errorf("%s: taken", other)
		}
		compareProjection(t, []byte(changed))
	}
	from, to := strings.Index(leaf, `,"endorsements"`), strings.Index(leaf, `,"cvm"`)
	for i := from; i < to; i++ {
		for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64} {
			changed := []byte(leaf)
			changed[i] ^= mask
			compareProjection(t, changed)
		}
		compareProjection(t, []byte(leaf[:i]+leaf[i+1:]))
	}
}

// compareProjection holds the fast reader to the parser.
func compareProjection(t *testing.T, leaf []byte) {
	t.Helper()
	var p poclog.Projection
	kind, err := p.Read(leaf)
	l, want := poclog.ParseLeaf(leaf)
	if (err == nil) != (want == nil) {
		t.Fatalf("%q: projected with %v, parsed with %v", leaf, err, want)
	}
	scanned, ok := poclog.ScanEntry(leaf)
	if ok && (err != nil || l.Proof == nil) {
		t.Fatalf("%q: the fast reader takes what the parser does not (%v)", leaf, want)
	}
	if err != nil || l.Proof == nil {
		if kind == poclog.LeafProof {
			t.Fatalf("%q: called a proof", leaf)
		}
		return
	}
	fromParser := l.Proof.Projection()
	if kind != poclog.LeafProof || !reflect.DeepEqual(p, fromParser) || ok && !reflect.DeepEqual(scanned, fromParser) {
		t.Fatalf("%q: projected to\n%+v, parsed to\n%+v", leaf, p, fromParser)
	}
}

// Every byte of every sample changed in some ways, and cut off.
// Every byte is changed, to one of six by turns; with POCLOG_EVERY_BYTE=1 to each of them.
func TestProjectionsAreHeldToTheParser(t *testing.T) {
	others := []byte{'0', '"', '\\', ',', '}', 'z'}
	for _, leaf := range projectable(t) {
		for i := range leaf {
			compareProjection(t, leaf[:i])
			to := others[i%len(others):][:1]
			if os.Getenv("POCLOG_EVERY_BYTE") != "" {
				to = others
			}
			for _, c := range append([]byte{leaf[i] ^ 1}, to...) {
				changed := bytes.Clone(leaf)
				changed[i] = c
				compareProjection(t, changed)
			}
		}
	}
}

func FuzzProjection(f *testing.F) {
	for _, leaf := range projectable(f) {
		f.Add(leaf)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) { compareProjection(t, leaf) })
}

func BenchmarkProjection(b *testing.B) {
	leaf := must(b, sampleEntry())
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	var p poclog.Projection
	for b.Loop() {
		if kind, err := p.Read(leaf); err != nil || kind != poclog.LeafProof {
			b.Fatal(kind, err)
		}
	}
}

func BenchmarkHashSameLeaf(b *testing.B) {
	leaf := must(b, sampleEntry())
	b.SetBytes(int64(len(leaf)))
	for b.Loop() {
		poclog.Sum(leaf)
	}
}

// An entry states what it names, but for its quote, and nothing else.
func TestProjectionsStateWhatEntriesName(t *testing.T) {
	all, leaves, named := make(map[poclog.Identity]bool), projectable(t), make(map[string][]poclog.Identity)
	for name, leaf := range leaves {
		e, err := poclog.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		named[name] = e.Identities()
		for _, id := range named[name] {
			all[id] = true
		}
	}
	for name, leaf := range leaves {
		var p poclog.Projection
		if _, err := p.Read(leaf); err != nil {
			t.Fatal(err)
		}
		for id := range all {
			want := slices.Contains(named[name], id) && id.Kind() != poclog.QuoteKind
			if got := p.States([]byte(id)); got != want && !p.More {
				t.Errorf("%s states %s: %t", name, id, got)
			}
			if p.States([]byte(id[1:])) || p.States([]byte(id+"0")) {
				t.Errorf("%s states what is like %s", name, id)
			}
		}
	}
}
