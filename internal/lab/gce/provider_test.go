package gce_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	gcetcb "github.com/google/gce-tcb-verifier/verify"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

var (
	start   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	logKey  = testlog.LogKey("lab.log.test")
	witness = testlog.WitnessKey("w.test")
)

const registry = "https://registry.lab.test/"

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func challengeAt(at time.Time, salt uint64) *poclog.Challenge {
	l := &testlog.Log{Origin: "lab.log.test", Leaves: [][]byte{{1}, {2}}}
	c := &poclog.Challenge{
		Profile: poclog.GCETDXvTPM, UserData: poclog.Sum([]byte("tls key")),
		Checkpoint: l.Checkpoint(2, testlog.Cosigner{Signer: logKey, At: at}, testlog.Cosigner{Signer: witness, At: at}),
	}
	binary.BigEndian.PutUint64(c.Salt[:], salt)
	return c
}

// appraise judges a bundle of a VM by the project's own appraiser, at the cloud's time.
func appraise(t testing.TB, c *gce.Cloud, col *poclog.Collateral, ppid [16]byte, b *poclog.Bundle) (*verify.Appraisal, error) {
	t.Helper()
	bundle, err := b.Marshal()
	ok(t, err)
	file, err := col.With(c.Registry.Observe(registry, ppid, c.Now)).Marshal()
	ok(t, err)
	policy, err := c.Policy([]string{"log " + logKey.VKey, "witness w " + witness.VKey, "quorum w"}, registry).Marshal()
	ok(t, err)
	return profile.Appraise(profile.Input{Bundle: bundle, Collateral: file, Policy: policy, Appraised: c.Now, Appraisal: poclog.Appraisal})
}

// fleet is a cloud that has run for a month: hosts with one and two sockets, VMs of every kind.
func fleet(t testing.TB, hosts, vms int) *gce.Cloud {
	t.Helper()
	c := gce.New("provider test", start)
	if real, err := gce.RealImages(); err == nil {
		c.Images = append(real, c.Images...)
	} else {
		t.Logf("without the logs of real machines: %v", err)
	}
	for i := range hosts {
		_, err := c.NewHost(c.Zones[i%len(c.Zones)], 1+i%2)
		ok(t, err)
	}
	for i := range vms {
		h := c.Hosts[i%hosts]
		_, err := h.NewVM(i%len(h.Sockets), gce.VMConfig{
			Image: c.Images[i%len(c.Images)], Memory: gce.MemorySizes[i%3], Version: 4 + i%2, BodyType: 2 + i/2%2, RSA: i == 1, NoPZID: i%7 == 0,
		})
		ok(t, err)
	}
	c.Advance(30 * 24 * time.Hour)
	return c
}

// TestHonestProofs makes POCLOG_HONEST proofs, or 500.
func TestHonestProofs(t *testing.T) {
	proofs, err := strconv.Atoi(os.Getenv("POCLOG_HONEST"))
	if err != nil {
		proofs = 500
	}
	c := fleet(t, 10, 40)
	col := c.Collateral(chip.CollateralOptions{})
	for n := range proofs {
		v := c.VMs[n%len(c.VMs)]
		switch n % 97 {
		case 13:
			ok(t, v.Reboot())
		case 29:
			v.Resume()
		case 41:
			ok(t, v.Move(v.Host, len(v.Host.Sockets)-1))
		case 59:
			for _, h := range c.Hosts {
				if h.Zone == v.TPM.Instance.Zone && h != v.Host {
					ok(t, v.Move(h, 0))
					break
				}
			}
		}
		c.Advance(time.Second)
		b, err := v.Prove(challengeAt(c.Now.Add(-5*time.Second), uint64(n)))
		ok(t, err)
		a, err := appraise(t, c, col, v.Platform().PPID, b)
		if err != nil {
			t.Fatalf("proof %d, image %s, version %d/%d: %v", n, v.Config.Image.Name, v.Config.Version, v.Config.BodyType, err)
		}
		if a.Entry.Level != poclog.LevelBound || a.Entry.Place.Zone.Value != v.Host.Zone {
			t.Fatalf("proof %d: level %d, zone %s", n, a.Entry.Level, a.Entry.Place.Zone.Value)
		}
	}
}

// What does not fit together is refused by the check that should.
func TestPartsOfTwoMachinesAreRefused(t *testing.T) {
	c := fleet(t, 4, 8)
	col := c.Collateral(chip.CollateralOptions{})
	x, y := c.VMs[0], c.VMs[3]
	ch := challengeAt(c.Now.Add(-5*time.Second), 1)
	for _, a := range []struct {
		name string
		edit func(e, other *gce.Evidence)
		want verify.Check
	}{
		{"another VM's TPM quote", func(e, o *gce.Evidence) { e.TPMQuote, e.PCRs = o.TPMQuote, o.PCRs }, verify.TPMSignature},
		{"another VM's TPM altogether", func(e, o *gce.Evidence) {
			e.TPMQuote, e.PCRs, e.AK, e.AKChain = o.TPMQuote, o.PCRs, o.AK, o.AKChain
		}, verify.BindAKInTEE},
		{"another VM's CCEL", func(e, o *gce.Evidence) { e.CCEL = o.CCEL }, verify.BindPCRRTMR},
		{"another VM's TPM log", func(e, o *gce.Evidence) { e.TCGLog = o.TCGLog }, verify.BindPCRRTMR},
		{"another firmware", func(e, _ *gce.Evidence) {
			td := x.TD(ch.ReportData(x.TPM.Public))
			td.MRTD = gce.NewFirmware("attacker", "own").MRTD(16)
			e.TDXQuote = x.Platform().Quote(td)
		}, verify.TEELaunch},
	} {
		e, err := x.Evidence(ch)
		ok(t, err)
		other, err := y.Evidence(ch)
		ok(t, err)
		a.edit(e, other)
		b, err := e.Bundle()
		ok(t, err)
		_, err = appraise(t, c, col, x.Platform().PPID, b)
		if got, _ := verify.CheckOf(err); got != a.want {
			t.Errorf("%s: refused by %q (%v): want %q", a.name, got, err, a.want)
		}
	}
}

// The lab replays logs on its own; the verifier replays them to the same registers, and finds one
// story.
func TestImagesTellOneStory(t *testing.T) {
	c := fleet(t, 1, 0)
	for _, img := range c.Images {
		a, err := tcglog.Parse(tcglog.TPM, img.TCGLog)
		ok(t, err)
		b, err := tcglog.Parse(tcglog.CCEL, img.CCEL)
		ok(t, err)
		for _, alg := range []tpm.Alg{tpm.SHA1, tpm.SHA256, tpm.SHA384} {
			for _, pcr := range tcglog.CheckedPCRs {
				want, err := a.PCR(alg, pcr)
				ok(t, err)
				if !bytes.Equal(img.PCRs(alg, []int{pcr}), want) {
					t.Errorf("%s: PCR %d (%s): the verifier replays another value", img.Name, pcr, alg)
				}
			}
		}
		ok(t, b.CheckRTMRs(&img.RTMRs))
		m, err := tcglog.CrossCheck(a, b)
		if err != nil {
			t.Errorf("%s: %v", img.Name, err)
			continue
		}
		if img.Name == "ubuntu-2404" && m.String() != "30/39/86" {
			t.Errorf("%s events of the real pair match: want 30/39/86", m)
		}
	}
}

func TestGoogleVerifierAcceptsTheEndorsement(t *testing.T) {
	c := gce.New("provider test", start)
	item := c.Endorse(c.Firmware)
	judge := func(root, body []byte) error {
		pool := x509.NewCertPool()
		block, _ := pem.Decode(root)
		cert, err := x509.ParseCertificate(block.Bytes)
		ok(t, err)
		pool.AddCert(cert)
		return gcetcb.Endorsement(body, &gcetcb.Options{RootsOfTrust: pool, Now: start.AddDate(0, 1, 0), ExpectedUefiSha384: c.Firmware.Digest[:]})
	}
	ok(t, judge(item.Chain, item.Body))
	other := gce.New("another cloud", start).Endorse(c.Firmware)
	if judge(item.Chain, other.Body) == nil {
		t.Error("another cloud's signature is accepted")
	}
	if judge(item.Chain, bytes.Replace(item.Body, c.Firmware.Digest[:], make([]byte, 48), 1)) == nil {
		t.Error("a changed endorsement is accepted")
	}
}

func TestRegistryAnswersAsGoogleDoes(t *testing.T) {
	c := fleet(t, 1, 0)
	srv := httptest.NewServer(c.Registry)
	defer srv.Close()
	get := func(path string) (int, string) {
		resp, err := http.Get(srv.URL + path)
		ok(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		ok(t, err)
		return resp.StatusCode, string(body)
	}
	p := c.Hosts[0].Sockets[0].PPID
	if status, body := get(fmt.Sprintf("/%x", p)); status != 200 || body != `{"zone":"lab-north1-a","timestamp":"2026-01-01T00:00:00Z"}` {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(fmt.Sprintf("/%X", p)); status != 404 {
		t.Errorf("upper case: %d", status)
	}
	ok(t, c.Hosts[0].Relocate("lab-south1-a"))
	if _, body := get(fmt.Sprintf("/%x", p)); body != `{"zone":"lab-south1-a","timestamp":"2026-01-31T00:00:00Z"}` {
		t.Errorf("after the move: %s", body)
	}
	c.Registry.Unlist(p)
	if status, _ := get(fmt.Sprintf("/%x", p)); status != 404 {
		t.Errorf("unlisted: %d", status)
	}
}

func TestTPMCountsResetsRestartsAndTime(t *testing.T) {
	c := fleet(t, 1, 1)
	v := c.VMs[0]
	read := func() *tpm.Quote {
		t.Helper()
		item, _, err := v.TPM.Quote(nil, c.Now)
		ok(t, err)
		q, err := tpm.ParseQuote(item)
		ok(t, err)
		ok(t, q.Verify(v.TPM.AK.Public()))
		return q
	}
	first := read()
	v.Stop()
	if _, _, err := v.TPM.Quote(nil, c.Now); err == nil {
		t.Error("a TPM that is off quotes")
	}
	c.Advance(time.Hour)
	ok(t, v.Start(c.Hosts[0], 0))
	v.Resume()
	c.Advance(time.Second)
	q := read()
	if q.ResetCount != first.ResetCount+1 || q.RestartCount != 1 || q.Clock != first.Clock+1000 {
		t.Errorf("reset %d, restart %d, clock %d after %d", q.ResetCount, q.RestartCount, q.Clock, first.Clock)
	}
	if c.Hosts[0].Relocate("lab-south1-a") == nil {
		t.Error("a host moves with a VM on it")
	}
	v.Stop()
	ok(t, c.Hosts[0].Relocate("lab-south1-a"))
	if v.Start(c.Hosts[0], 0) == nil {
		t.Error("an instance starts in another zone than its own")
	}
}

func TestOneSeedMakesOneCloud(t *testing.T) {
	make := func() []byte {
		c := fleet(t, 2, 3)
		col := c.Collateral(chip.CollateralOptions{})
		all, err := col.Marshal()
		ok(t, err)
		for _, v := range c.VMs {
			b, err := v.Prove(challengeAt(c.Now, 1))
			ok(t, err)
			file, err := b.Marshal()
			ok(t, err)
			all = append(all, file...)
		}
		return all
	}
	if !bytes.Equal(make(), make()) {
		t.Error("two clouds of one seed differ")
	}
}

func BenchmarkProve(b *testing.B) {
	c := fleet(b, 1, 1)
	ch := challengeAt(c.Now, 1)
	for i := uint64(0); b.Loop(); i++ {
		binary.BigEndian.PutUint64(ch.Salt[:], i)
		if _, err := c.VMs[0].Prove(ch); err != nil {
			b.Fatal(err)
		}
	}
}
