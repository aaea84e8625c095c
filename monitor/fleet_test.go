package monitor_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
)

// A fleet is a cloud's machines and VMs over a simulated year, and the logs to which they prove
// themselves: honest operation with all that happens in it. Its entries are minted without
// signatures, which a log would refuse; and made again from a few numbers when they are asked for,
// so that a million of them need no memory.
type fleet struct {
	rng   *rand.Rand
	hosts []*fleetHost
	vms   []*fleetVM
	tick  int          // an hour
	also  func(*fleet) // what happens in an hour beside proofs
	logs  []*fleetLog

	templates [][]string
	late      map[int][]minted // by the tick in which they reach the log
	places    map[string]int   // ground truth: proofs by "zone hour" of level 2
	serial    uint64
	eval      uint32
}

var year = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)

func at(tick int) time.Time { return year.Add(time.Duration(tick) * time.Hour) }

type fleetHost struct {
	kind     poclog.Profile
	chip     poclog.Identity
	piid     poclog.Identity // none for SNP
	ek       poclog.Identity // bare metal's
	zone     string
	quiet    int // no VM of it proves anything before this tick
	masked   bool
	restarts uint32
}

type fleetVM struct {
	host     *fleetHost
	instance poclog.Identity
	aks      []poclog.Identity // RSA, and ECC on GCE
	reset    uint32
	restart  uint32
	made     int // tick
	image    byte
	template []int // by AK
	home     int   // the log whose challenges it answers
}

// A minted is what an entry is made of.
type minted struct {
	home     int8 // the log of the challenge
	template int32
	made     int32 // tick of the challenge
	second   int32 // of the hour
	serial   uint64
	clock    uint64
}

// A fleetLog is one log of a fleet, served as C2SP tlog-tiles.
type fleetLog struct {
	fleet   *fleet
	origin  string
	entries []minted
	other   map[int][]byte // leaves that are not minted
	stored  []tlog.Hash
	heads   []head // by tick, at its beginning
	files   map[poclog.Digest][]byte
	url     string
}

// A head is the log at the beginning of a tick.
type head struct {
	size   uint64
	root   tlog.Hash
	signed []byte
	bundle poclog.Blob
}

func id(kind string, n uint64, octets int) poclog.Identity {
	b := make([]byte, octets)
	binary.BigEndian.PutUint64(b, n+1)
	return poclog.Identity(kind + ":" + hex.EncodeToString(b))
}

// next returns a number that was not used.
func (f *fleet) next() uint64 { f.serial++; return f.serial }

func newFleet(seed uint64, hosts, vms int, origins ...string) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(seed, 1)), late: make(map[int][]minted), places: make(map[string]int), eval: 17}
	kinds := []poclog.Profile{poclog.GCETDXvTPM, poclog.GCETDXvTPM, poclog.GCETDXvTPM, poclog.AzureTDXvTPM, poclog.AzureSNPvTPM, poclog.BareMetalTDXTPM}
	for i := range hosts {
		h := &fleetHost{kind: kinds[i%len(kinds)], zone: fmt.Sprintf("north%d-%c", i%3, 'a'+i%2)}
		if h.kind == poclog.AzureSNPvTPM {
			h.chip, h.masked = id(poclog.AMDChipID, f.next(), 64), i%2 == 0
		} else {
			h.chip, h.piid = id(poclog.IntelPPID, f.next(), 16), id(poclog.IntelPIID, f.next(), 16)
		}
		if h.kind == poclog.BareMetalTDXTPM {
			h.ek = id(poclog.TPMEK, f.next(), 32)
		}
		f.hosts = append(f.hosts, h)
	}
	for _, o := range origins {
		f.logs = append(f.logs, &fleetLog{fleet: f, origin: o, other: make(map[int][]byte), files: make(map[poclog.Digest][]byte)})
	}
	for range vms {
		f.vms = append(f.vms, f.newVM())
	}
	return f
}

func (f *fleet) host() *fleetHost { return f.hosts[f.rng.IntN(len(f.hosts))] }

// newVM starts a VM on some host.
func (f *fleet) newVM() *fleetVM {
	v := &fleetVM{host: f.host(), home: f.rng.IntN(4) % 3 % len(f.logs), made: f.tick, reset: uint32(f.rng.IntN(5)), image: byte(f.rng.IntN(3))}
	switch v.host.kind {
	case poclog.GCETDXvTPM:
		v.instance = poclog.GCEInstanceIdentity(77, f.next())
		v.aks = []poclog.Identity{id(poclog.TPMAK, f.next(), 32), id(poclog.TPMAK, f.next(), 32)}
	case poclog.BareMetalTDXTPM:
		v.aks, v.reset, v.restart = []poclog.Identity{id(poclog.TPMAK, f.next(), 32)}, 3, v.host.restarts
	default:
		v.instance = poclog.Identity(fmt.Sprintf("azure:vm:00000000-0000-0000-0000-%012x", f.next()))
		v.aks = []poclog.Identity{id(poclog.TPMAK, f.next(), 32)}
	}
	return v
}

// Placeholders in a template, each where a member of an entry stands. Their lengths are those of
// what takes their place.
var (
	holdQuote = strings.Repeat("f1", 32)
	holdSize  = "18446744073709551601"
	holdRoot  = strings.Repeat("f2", 32)
	holdCP    = strings.Repeat("f3", 32)
	holdClock = "18446744073709551602"
	holdTime  = "2099-01-01T00:00:00Z"
	holdFile  = strings.Repeat("f4", 32)
)

// templateOf marshals a VM's entry with placeholders, and splits it there.
func (f *fleet) templateOf(v *fleetVM, ak int, historical bool) int {
	h := v.host
	e := &poclog.Entry{
		Appraisal: poclog.Appraisal, Profile: h.kind, Level: poclog.LevelBound, Realm: poclog.Lab, Quote: poclog.Identity("quote:" + holdQuote),
		CVM: poclog.CVM{
			Technology: "tdx", Measurement: bytes.Repeat([]byte{0xa0 + v.image}, 48), EndorsedBy: "provider", ReportData: [64]byte{7},
			TCB: &poclog.TCB{Status: "UpToDate", Date: poclog.UnixTime(1700000000), Advisories: []string{"INTEL-SA-00828"}, Evaluation: f.eval},
		},
		Checks:    []string{"tee.signature", "tee.chain", "tee.revocation", "tee.tcb", "tee.no-debug", "tee.launch"},
		Evidence:  poclog.EvidenceDigests{Bundle: poclog.Blob{SHA256: must(poclog.ParseDigest(holdFile))}, Collateral: poclog.BlobOf([]byte("c")), Policy: poclog.BlobOf([]byte("p"))},
		Appraised: must(time.Parse(time.RFC3339, holdTime)),
	}
	if !h.masked {
		e.Chassis = []poclog.Identity{h.chip}
	}
	if h.piid != "" {
		e.Chassis = []poclog.Identity{h.piid, h.chip}
		e.CVM.FMSPC, e.CVM.PCEID = []byte{1, 2, 3, 4, 5, 6}, []byte{0, 0}
		if h.kind == poclog.GCETDXvTPM {
			e.CVM.RTMRs = [][48]byte{{v.image + 1}, {2}, {3}, {}}
		}
	} else {
		e.CVM.Technology, e.CVM.TCB, e.CVM.SNP = "snp", nil, &poclog.SNPReport{Product: "Milan", Signer: "vcek"}
	}
	if h.ek != "" {
		e.Chassis = append(e.Chassis, h.ek)
	}
	e.Fresh = &poclog.Fresh{
		Origin: f.logs[v.home].origin, Size: must(strconv.ParseUint(holdSize, 10, 64)), Root: must(poclog.ParseDigest(holdRoot)),
		Checkpoint: must(poclog.ParseDigest(holdCP)), Salt: poclog.Sum([]byte("salt")), UserData: poclog.Sum([]byte("key")),
	}
	if historical {
		e.Profile, e.Level, e.Fresh, e.CVM.RTMRs = poclog.TDX, poclog.LevelChip, nil, nil
		if h.piid == "" {
			e.Profile = poclog.SNP
		}
		return f.split(e)
	}
	boot, firmware := poclog.Sum([]byte("boot")), poclog.Sum([]byte{v.image})
	e.Keys, e.Instance, e.Boot = []poclog.Identity{v.aks[ak]}, v.instance, &boot
	e.Place = &poclog.Place{Provider: poclog.Claim{Value: "gce", By: []string{"ak-certificate"}}, Zone: poclog.Claim{Value: h.zone, By: []string{"ak-certificate"}}}
	if h.kind != poclog.GCETDXvTPM {
		e.Place = &poclog.Place{Provider: poclog.Claim{Value: "cloud", By: []string{"ak-certificate"}}, Region: poclog.Claim{Value: h.zone, By: []string{"aia-hint"}}}
	}
	e.TPM = &poclog.TPM{
		KeyType: []string{"rsa-2048", "ecc-p256"}[ak], PCRs: []poclog.PCRBank{{Alg: "sha256", Selected: []uint8{0, 1, 2, 3, 4, 5, 6, 7}, Firmware: &firmware}},
		PCRDigest: bytes.Repeat([]byte{1}, 32), ExtraData: bytes.Repeat([]byte{2}, 32), Clock: must(strconv.ParseUint(holdClock, 10, 64)),
		ResetCount: v.reset, RestartCount: v.restart, Safe: true, Firmware: 5,
	}
	e.Checks = append(e.Checks, "tpm.signature", "tpm.pcr-digest", "tpm.ak-template", "tpm.ak-chain", "bind.ak-in-tee", "bind.tee-in-tpm", "place.agree", "fresh.challenge")
	return f.split(e)
}

// split keeps a template. Its parts alternate with what takes the placeholders' place, each of
// which begins a part with a letter for it.
func (f *fleet) split(e *poclog.Entry) int {
	text := string(must(e.Marshal()))
	for i, h := range []string{holdQuote, holdSize, holdRoot, holdCP, holdClock, holdTime, holdFile} {
		text = strings.ReplaceAll(text, h, "\x00"+string(rune('a'+i)))
	}
	f.templates = append(f.templates, strings.Split(text, "\x00"))
	return len(f.templates) - 1
}

// leaf makes an entry's leaf.
func (f *fleet) leaf(m minted) []byte {
	out := make([]byte, 0, 2048)
	h := &f.logs[m.home].heads[m.made]
	for i, part := range f.templates[m.template] {
		if i == 0 {
			out = append(out, part...)
			continue
		}
		switch part[0] {
		case 'a':
			var quote [32]byte
			binary.BigEndian.PutUint64(quote[:], m.serial)
			out = hex.AppendEncode(out, quote[:])
		case 'b':
			out = strconv.AppendUint(out, h.size, 10)
		case 'c':
			out = hex.AppendEncode(out, h.root[:])
		case 'd':
			sum := poclog.Sum(h.signed)
			out = hex.AppendEncode(out, sum[:])
		case 'e':
			out = strconv.AppendUint(out, m.clock, 10)
		case 'f':
			out = at(int(m.made)).Add(time.Duration(m.second)*time.Second).AppendFormat(out, time.RFC3339)
		case 'g':
			out = hex.AppendEncode(out, h.bundle.SHA256[:])
		}
		out = append(out, part[1:]...)
	}
	return out
}

// begin signs the log's tree at the beginning of a tick, which VMs then take for their challenges.
func (l *fleetLog) begin(tick int) {
	n := uint64(len(l.entries))
	h := head{size: n}
	if n > 0 {
		h.root = must(tlog.TreeHash(int64(n), l.read()))
	} else {
		h.root = tlog.Hash(poclog.Sum(nil))
	}
	by := []testlog.Cosigner{{Signer: testlog.LogKey(l.origin), At: at(tick)}, {Signer: testlog.WitnessKey("w.test"), At: at(tick)}}
	h.signed = testlog.SignRoot(l.origin, n, h.root, by...)
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, []byte("none"))
	b.Set(poclog.ItemChallenge, must((&poclog.Challenge{Profile: poclog.TDX, Checkpoint: h.signed}).Marshal()))
	file := must(b.Marshal())
	h.bundle = poclog.BlobOf(file)
	l.files[h.bundle.SHA256] = file
	l.heads = append(l.heads, h)
}

func (l *fleetLog) read() tlog.HashReaderFunc {
	return func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = l.stored[n]
		}
		return out, nil
	}
}

// put appends an entry, or a leaf of another kind.
func (l *fleetLog) put(m minted, other []byte) {
	n := len(l.entries)
	l.entries = append(l.entries, m)
	if other != nil {
		l.other[n] = other
	}
	hashes := must(tlog.StoredHashesForRecordHash(int64(n), tlog.Hash(receipt.LeafHash(l.leaf(n))), l.read()))
	l.stored = append(l.stored, hashes...)
}

func (l *fleetLog) leaf(n int) []byte {
	if b, ok := l.other[n]; ok {
		return b
	}
	return l.fleet.leaf(l.entries[n])
}

func (l *fleetLog) signed() []byte {
	n := int64(len(l.entries))
	end := at(l.fleet.tick)
	return testlog.SignRoot(l.origin, uint64(n), must(tlog.TreeHash(n, l.read())),
		testlog.Cosigner{Signer: testlog.LogKey(l.origin), At: end}, testlog.Cosigner{Signer: testlog.WitnessKey("w.test"), At: end})
}

// ServeHTTP serves the log with its evidence.
func (l *fleetLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := l.answer(r.URL.Path)
	if err != nil || b == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b) // the client may be gone
}

func (l *fleetLog) answer(path string) ([]byte, error) {
	if path == "/checkpoint" {
		return l.signed(), nil
	}
	if name, ok := strings.CutPrefix(path, "/v1/evidence/sha256/"); ok {
		d, err := poclog.ParseDigest(name)
		for _, of := range l.fleet.logs { // evidence that was submitted to both
			if b := of.files[d]; b != nil {
				return b, err
			}
		}
		return nil, err
	}
	level, name, _ := strings.Cut(strings.TrimPrefix(path, "/tile/"), "/")
	n, width, err := testlog.TileIndex(name)
	if err != nil {
		return nil, err
	}
	if level == "entries" {
		var b []byte
		for i := n * 256; i < n*256+int64(width); i++ {
			leaf := l.leaf(int(i))
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(leaf))), leaf...)
		}
		return b, nil
	}
	height, err := strconv.Atoi(level)
	if err != nil {
		return nil, err
	}
	return tlog.ReadTileData(tlog.Tile{H: 8, L: height, N: n, W: width}, l.read())
}

// serve starts the logs' servers.
func (f *fleet) serve(t testing.TB) {
	t.Helper()
	for _, l := range f.logs {
		srv := httptest.NewServer(l)
		t.Cleanup(srv.Close)
		l.url = srv.URL
	}
}

// prove has a VM answer the newest challenge. Some answers reach the log hours later.
func (f *fleet) prove(v *fleetVM) {
	if v.host.quiet > f.tick {
		return
	}
	ak := f.rng.IntN(len(v.aks))
	if v.template == nil {
		v.template = make([]int, len(v.aks))
		for i := range v.aks {
			v.template[i] = f.templateOf(v, i, false)
		}
	}
	second := f.rng.IntN(3000)
	m := minted{home: int8(v.home), template: int32(v.template[ak]), made: int32(f.tick), second: int32(second), serial: f.next(), clock: uint64(f.tick-v.made)*3_600_000 + uint64(second)*1000}
	if v.host.kind == poclog.GCETDXvTPM {
		f.places[placeHour(v.host.zone, at(f.tick))]++
	}
	if f.rng.IntN(200) == 0 {
		late := f.tick + 1 + f.rng.IntN(20)
		f.late[late] = append(f.late[late], m)
		return
	}
	f.log(m)
}

// log appends an entry to the log whose challenge it answers. Some are submitted to the other log,
// too.
func (f *fleet) log(m minted) {
	f.logs[m.home].put(m, nil)
	if len(f.logs) > 1 && f.rng.IntN(10) == 0 {
		f.logs[1-m.home].put(m, nil)
	}
}

// hour lets an hour pass, with n proofs.
func (f *fleet) hour(n int) {
	for _, l := range f.logs {
		if len(l.entries) == 0 || f.rng.IntN(500) == 0 {
			l.put(minted{}, must((&poclog.Config{Policy: poclog.BlobOf([]byte("p")), Software: "fleet", Time: at(f.tick)}).Marshal()))
		}
		l.begin(f.tick)
	}
	if f.also != nil {
		f.also(f)
	}
	for _, m := range f.late[f.tick] {
		f.log(m)
	}
	delete(f.late, f.tick)
	for range n {
		v := f.vms[f.rng.IntN(len(f.vms))]
		if f.rng.IntN(100) == 0 {
			f.event(v)
		}
		f.prove(v)
	}
	f.rare()
	f.tick++
}

// end has what is still on its way reach the log.
func (f *fleet) end() {
	for range 24 {
		f.hour(0)
	}
}

// event is what happens to a VM: it is started anew, elsewhere, or for the last time.
func (f *fleet) event(v *fleetVM) {
	v.template = nil
	metal := v.host.kind == poclog.BareMetalTDXTPM
	switch n := f.rng.IntN(10); {
	case metal:
		*v = *f.newVM() // TDs come and go; the machine's TPM does not
	case n < 3:
		v.reset++
	case n < 4:
		v.reset, v.image = v.reset+1, byte(f.rng.IntN(3)) // a newer image
	case n < 8: // stopped, and started on another chip of its zone
		for range 20 {
			if h := f.host(); h.kind == v.host.kind && h.zone == v.host.zone && h.quiet <= f.tick {
				v.host = h
				break
			}
		}
		v.reset++
		if v.instance.Kind() == poclog.AzureVM && n < 6 { // the paravisor's TPM does not persist
			v.aks, v.reset, v.made = []poclog.Identity{id(poclog.TPMAK, f.next(), 32)}, 0, f.tick
		}
	default:
		*v = *f.newVM()
	}
}

// rare is what happens to machines, and what the chip maker publishes.
func (f *fleet) rare() {
	h := f.host()
	switch n := f.rng.IntN(400); {
	case n == 0 && h.piid != "": // provisioned anew: another PIID
		h.piid = id(poclog.IntelPIID, f.next(), 16)
		f.forget(h, false)
	case n == 1: // relocated: off for two days, and certified for its new place
		h.quiet, h.zone = f.tick+48, fmt.Sprintf("south%d-%c", f.rng.IntN(3), 'a'+f.rng.IntN(2))
		f.forget(h, true)
	case n == 2 && h.ek != "": // its TPM is replaced, once another is there
		h.quiet, h.ek = f.tick+24, id(poclog.TPMEK, f.next(), 32)
		f.forget(h, true)
	case n == 3 && h.ek != "": // the machine is restarted
		h.restarts++
		f.forget(h, true)
	case n == 4 && f.rng.IntN(4) == 0: // a TCB recovery begins
		f.eval++
		for _, v := range f.vms {
			v.template = nil
		}
	case n < 40: // historical evidence
		m := minted{template: int32(f.templateOf(&fleetVM{host: h, image: 1}, 0, true)), made: int32(f.tick), serial: f.next()}
		f.log(m)
	}
}

// forget makes the VMs of a host prove what is new; gone ones are replaced by others.
func (f *fleet) forget(h *fleetHost, gone bool) {
	for _, v := range f.vms {
		if v.host == h {
			if v.template = nil; gone {
				*v = *f.newVM()
			}
		}
	}
}
