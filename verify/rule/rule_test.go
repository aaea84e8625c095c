package rule_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/rule"
)

func hexes(c string, n int) string { return strings.Repeat(c, n) }

// Identities of two of each kind.
var (
	chipX, chipY = poclog.Identity("intel:tdx:ppid:" + hexes("1a", 16)), poclog.Identity("intel:tdx:ppid:" + hexes("1b", 16))
	piidX, piidY = poclog.Identity("intel:tdx:piid:" + hexes("2a", 16)), poclog.Identity("intel:tdx:piid:" + hexes("2b", 16))
	amdX         = poclog.Identity("amd:snp:chipid:" + hexes("3a", 64))
	amdY         = poclog.Identity("amd:snp:chipid:" + hexes("3b", 64))
	ekA, ekB     = poclog.Identity("tpm:ek:" + hexes("4a", 32)), poclog.Identity("tpm:ek:" + hexes("4b", 32))
	akA, akB     = poclog.Identity("tpm:ak:" + hexes("5a", 32)), poclog.Identity("tpm:ak:" + hexes("5b", 32))
	quoteP       = poclog.Identity("quote:" + hexes("6a", 32))
	quoteQ       = poclog.Identity("quote:" + hexes("6b", 32))
	vm1, vm2     = poclog.GCEInstanceIdentity(1, 1), poclog.GCEInstanceIdentity(1, 2)
	azureVM      = poclog.Identity("azure:vm:0f8fad5b-d9cb-469f-a165-70867728950e")
)

var joined = []string{"tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm"}

func said(v string, by ...string) poclog.Claim { return poclog.Claim{Value: v, By: by} }

// proof is an entry of log a.test at level 2, made within a minute from d after noon, in boot 5.0
// of AK A on chip X.
func proof(p poclog.Profile, d time.Duration) *rule.Claim {
	firmware, ms := poclog.Sum([]byte("firmware")), uint64(1_000_000+d.Milliseconds())
	e := &poclog.Entry{
		Profile: p, Level: poclog.LevelBound, Realm: poclog.Production, Chassis: []poclog.Identity{piidX, chipX}, Keys: []poclog.Identity{akA},
		Quote: quoteP, Checks: joined, Appraised: at(d + 30*time.Second),
		CVM: poclog.CVM{Technology: "tdx", Measurement: bytes.Repeat([]byte{7}, 48), FMSPC: []byte{1, 2, 3, 4, 5, 6}, PCEID: []byte{0, 0},
			TCB: &poclog.TCB{Status: "UpToDate", Evaluation: 17}},
		TPM: &poclog.TPM{KeyType: "ecc-p256", PCRs: []poclog.PCRBank{{Alg: "sha256", Firmware: &firmware}, {Alg: "sha384"}}, ExtraData: []byte{1},
			Clock: ms, ResetCount: 5, Safe: true, Firmware: 9},
		Fresh: &poclog.Fresh{Origin: "a.test", Size: 1},
	}
	switch p {
	case poclog.GCETDXvTPM:
		e.Instance = vm1
		e.CVM.RTMRs = [][48]byte{{1}, {2}, {3}, {}}
		e.Place = &poclog.Place{Provider: said("gce", "ak-certificate"), Region: said("us-central1", "ak-certificate"), Zone: said("us-central1-a", "ak-certificate")}
	case poclog.BareMetalTDXTPM:
		e.Chassis = append(e.Chassis, ekA)
		e.CVM.RTMRs = [][48]byte{{1}, {2}, {3}, {}}
		e.Place = &poclog.Place{Provider: said("metal", "ak-certificate"), Region: said("north", "ak-certificate"), Zone: said("north-a", "ak-certificate")}
	case poclog.AzureTDXvTPM, poclog.AzureSNPvTPM:
		e.Instance = azureVM
		e.Keys = append(e.Keys, ekA)
		e.Place = &poclog.Place{Provider: said("azure", "ak-certificate"), Region: said("westus3", "aia-hint")}
	}
	return &rule.Claim{Origin: "a.test", Index: 5, Entry: e, T1: at(d), T2: at(d + time.Minute), Rooted: true}
}

type change func(c *rule.Claim)

func on(chip poclog.Identity) change {
	return func(c *rule.Claim) {
		c.Entry.Chassis = slices.DeleteFunc(c.Entry.Chassis, func(id poclog.Identity) bool { return id.IsChip() || id == piidX })
		if chip != "" {
			c.Entry.Chassis = append(c.Entry.Chassis, chip)
		}
	}
}
func by(ak poclog.Identity) change { return func(c *rule.Claim) { c.Entry.Keys[0] = ak } }
func in(reset, restart uint32) change {
	return func(c *rule.Claim) { c.Entry.TPM.ResetCount, c.Entry.TPM.RestartCount = reset, restart }
}
func noKeys(e *poclog.Entry) { e.Keys = nil }

func entry(f func(e *poclog.Entry)) change { return func(c *rule.Claim) { f(c.Entry) } }
func without(check string) change {
	return entry(func(e *poclog.Entry) {
		e.Checks = slices.DeleteFunc(slices.Clone(e.Checks), func(s string) bool { return s == check })
		e.Level = poclog.LevelChip
	})
}
func zone(z string) change {
	return entry(func(e *poclog.Entry) {
		e.Place.Region, e.Place.Zone = said(z[:len(z)-2], "ak-certificate"), said(z, "ak-certificate")
	})
}
func ek(id poclog.Identity) change {
	return entry(func(e *poclog.Entry) { e.Chassis[len(e.Chassis)-1] = id })
}
func untimed(c *rule.Claim) { c.T1, c.T2 = time.Time{}, time.Time{} }
func historical(c *rule.Claim) {
	c.Entry.Fresh, c.Entry.Level, c.T1 = nil, poclog.LevelChip, time.Time{}
}

// afterE has the challenge's tree hold the other entry.
func afterE(c *rule.Claim) { c.Entry.Fresh.Size = 6 }

const hour = time.Hour

// cases are pairs of entries: what the rule finds ("" is nothing), or "moved".
var cases = []struct {
	rule, name string
	profile    poclog.Profile
	apart      time.Duration // between e and f
	e, f       []change
	want       string
	implicated string
}{
	{"quote-replayed", "a kept quote under another boot", poclog.GCETDXvTPM, time.Minute, nil, []change{in(6, 0)}, "contradiction", string(akA)},
	{"quote-replayed", "and under another restart", poclog.GCETDXvTPM, time.Minute, nil, []change{in(5, 1)}, "contradiction", string(akA)},
	{"quote-replayed", "a bundle submitted again, elsewhere", poclog.GCETDXvTPM, 0, nil, []change{func(c *rule.Claim) { c.Origin = "b.test" }}, "", ""},
	{"quote-replayed", "quoted twice in one boot", poclog.GCETDXvTPM, time.Minute, nil, []change{entry(func(e *poclog.Entry) { e.TPM.Clock++; e.TPM.ExtraData = []byte{2} })}, "", ""},
	{"quote-replayed", "one challenge answered before and after a restart", poclog.GCETDXvTPM, time.Minute, nil, []change{in(6, 0), entry(func(e *poclog.Entry) { e.TPM.ExtraData = []byte{2} })}, "alert", ""},
	{"quote-replayed", "a report that the paravisor keeps", poclog.AzureSNPvTPM, time.Minute, nil, []change{in(6, 0)}, "alert", ""},
	{"quote-replayed", "a stranger's TPM over another's quote", poclog.GCETDXvTPM, time.Minute, nil, []change{by(akB), in(1, 0), without("bind.ak-in-tee")}, "", ""},
	{"quote-replayed", "the same key, which the quote does not name", poclog.GCETDXvTPM, time.Minute, nil, []change{in(6, 0), without("bind.ak-in-tee")}, "", ""},
	{"quote-replayed", "the bare quote", poclog.GCETDXvTPM, time.Minute, nil, []change{entry(func(e *poclog.Entry) { e.Profile, e.TPM, e.Keys, e.Level, e.Checks = poclog.TDX, nil, nil, 0, nil })}, "", ""},
	{"quote-replayed", "another realm", poclog.GCETDXvTPM, time.Minute, nil, []change{in(6, 0), entry(func(e *poclog.Entry) { e.Realm = poclog.Lab })}, "", ""},

	{"ak-on-two-chips", "in one boot", poclog.GCETDXvTPM, hour, nil, []change{on(chipY)}, "contradiction", string(akA)},
	{"ak-on-two-chips", "in one boot, whenever", poclog.GCETDXvTPM, 1000 * hour, []change{untimed}, []change{on(chipY), historical}, "contradiction", string(akA)},
	{"ak-on-two-chips", "in one boot of a machine's TPM", poclog.BareMetalTDXTPM, hour, nil, []change{on(chipY)}, "contradiction", string(akA)},
	{"ak-on-two-chips", "in one boot under Azure", poclog.AzureTDXvTPM, hour, nil, []change{on(chipY)}, "contradiction", string(akA)},
	{"ak-on-two-chips", "moved by a restart", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), in(6, 0), afterE}, "moved", ""},
	{"ak-on-two-chips", "moved within the interval of both", poclog.GCETDXvTPM, time.Second, nil, []change{on(chipY), in(6, 0)}, "moved", ""},
	{"ak-on-two-chips", "moved, and what was before is logged after", poclog.GCETDXvTPM, 0, nil, []change{on(chipY), in(4, 0)}, "moved", ""},
	{"ak-on-two-chips", "hibernated and woken elsewhere", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), in(5, 1), afterE}, "moved", ""},
	{"ak-on-two-chips", "an earlier boot, certainly later", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), in(4, 0), afterE}, "alert", ""},
	{"ak-on-two-chips", "counters that wrap around", poclog.GCETDXvTPM, hour, []change{in(1<<32-1, 0)}, []change{on(chipY), in(0, 0), afterE}, "moved", ""},
	{"ak-on-two-chips", "a masked chip", poclog.GCETDXvTPM, hour, nil, []change{on("")}, "", ""},
	{"ak-on-two-chips", "many VMs on a chip", poclog.GCETDXvTPM, hour, nil, []change{by(akB)}, "", ""},
	{"ak-on-two-chips", "packages of one platform instance", poclog.BareMetalTDXTPM, hour, nil, []change{func(c *rule.Claim) { c.Entry.Chassis[1] = chipY }}, "", ""},
	{"ak-on-two-chips", "a stranger's TD names another's key", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), without("bind.tee-in-tpm")}, "", ""},
	{"ak-on-two-chips", "a stranger's quote beside another's TPM quote", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), without("bind.ak-in-tee")}, "", ""},
	{"ak-on-two-chips", "a key that signs whatever it is given", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), without("tpm.ak-template")}, "", ""},

	{"ek-on-two-chips", "two AKs under one EK in one boot", poclog.BareMetalTDXTPM, hour, nil, []change{on(chipY), by(akB), func(c *rule.Claim) { c.Entry.Chassis = []poclog.Identity{chipY, ekA} }}, "contradiction", ""},
	{"ek-on-two-chips", "one AK", poclog.BareMetalTDXTPM, hour, nil, []change{func(c *rule.Claim) { c.Entry.Chassis = []poclog.Identity{chipY, ekA} }}, "contradiction", string(akA)},
	{"ek-on-two-chips", "a machine that got another CPU", poclog.BareMetalTDXTPM, hour, nil, []change{in(6, 0), func(c *rule.Claim) { c.Entry.Chassis = []poclog.Identity{chipY, ekA} }}, "moved", ""},
	{"ek-on-two-chips", "keys whose counters do not compare", poclog.BareMetalTDXTPM, hour, nil, []change{by(akB), func(c *rule.Claim) { c.Entry.Chassis = []poclog.Identity{chipY, ekA}; c.Entry.TPM.Firmware = 10 }}, "moved", ""},
	{"ek-on-two-chips", "an EK that level 0 names", poclog.BareMetalTDXTPM, hour, nil, []change{func(c *rule.Claim) { c.Entry.Chassis = []poclog.Identity{chipY, ekA} }, without("place.certificate")}, "", ""},
	{"ek-on-two-chips", "a paravisor whose TPM starts anew with another AK", poclog.AzureTDXvTPM, hour, nil, []change{on(chipY), by(akB)}, "moved", ""},

	{"instance-on-two-chips", "in one boot", poclog.GCETDXvTPM, hour, nil, []change{on(chipY)}, "contradiction", string(akA)},
	{"instance-on-two-chips", "its RSA and its ECC key, in one boot", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), by(akB), entry(func(e *poclog.Entry) { e.TPM.KeyType = "rsa-2048" })}, "contradiction", string(vm1)},
	{"instance-on-two-chips", "its RSA and its ECC key, after a restart", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), in(6, 0), by(akB), entry(func(e *poclog.Entry) { e.TPM.KeyType = "rsa-2048" })}, "moved", ""},
	{"instance-on-two-chips", "AK lost at re-provisioning", poclog.AzureTDXvTPM, hour, nil, []change{on(chipY), by(akB)}, "moved", ""},
	{"instance-on-two-chips", "entries that name no AK", poclog.GCETDXvTPM, hour, []change{entry(noKeys)}, []change{on(chipY), entry(noKeys)}, "moved", ""},
	{"instance-on-two-chips", "an instance that level 0 names", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), without("tee.launch")}, "", ""},
	{"instance-on-two-chips", "two instances", poclog.GCETDXvTPM, hour, nil, []change{on(chipY), entry(func(e *poclog.Entry) { e.Instance = vm2 })}, "", ""},

	{"piid-on-two-ppids", "certified for two", poclog.TDX, hour, nil, []change{func(c *rule.Claim) { c.Entry.Chassis[1] = chipY }}, "contradiction", "maker:intel"},
	{"piid-on-two-ppids", "provisioned anew", poclog.TDX, hour, nil, []change{func(c *rule.Claim) { c.Entry.Chassis[0] = piidY }}, "", ""},
	{"piid-on-two-ppids", "a chip of the processor CA, without PIID", poclog.TDX, hour, []change{on(chipX)}, []change{on(chipY)}, "", ""},

	{"chip-static-changed", "two FMSPCs", poclog.TDX, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.FMSPC = []byte{6, 5, 4, 3, 2, 1} })}, "contradiction", "maker:intel"},
	{"chip-static-changed", "two PCEIDs", poclog.TDX, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.PCEID = []byte{0, 1} })}, "contradiction", "maker:intel"},
	{"chip-static-changed", "two products", poclog.SNP, hour,
		[]change{on(amdX), entry(func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: "Milan"} })},
		[]change{on(amdX), entry(func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: "Genoa"} })}, "contradiction", "maker:amd"},
	{"chip-static-changed", "of AMD, where one report is under a VLEK", poclog.SNP, hour,
		[]change{on(amdX), reportBy("Milan", "vcek")}, []change{on(amdX), reportBy("Genoa", "vlek")}, "alert", ""},
	{"ak-on-two-chips", "in one boot, on the word of a VLEK's firmware", poclog.AzureSNPvTPM, hour,
		[]change{on(amdX), reportBy("Genoa", "vcek")}, []change{on(amdY), reportBy("Genoa", "vlek")}, "alert", ""},
	{"ak-on-two-chips", "in another boot, on the word of a VLEK's firmware", poclog.AzureSNPvTPM, hour,
		[]change{on(amdX), reportBy("Genoa", "vcek")}, []change{on(amdY), reportBy("Genoa", "vlek"), in(6, 0)}, "moved", ""},
	{"ak-on-two-chips", "in one boot, by VCEKs", poclog.AzureSNPvTPM, hour,
		[]change{on(amdX), reportBy("Genoa", "vcek")}, []change{on(amdY), reportBy("Genoa", "vcek")}, "contradiction", string(akA)},
	{"instance-on-two-chips", "in one boot, on the word of a VLEK's firmware", poclog.AzureSNPvTPM, hour,
		[]change{on(amdX), reportBy("Genoa", "vlek")}, []change{on(amdY), reportBy("Genoa", "vlek")}, "alert", ""},
	{"ek-on-two-chips", "in one boot, on the word of a VLEK's firmware", poclog.AzureSNPvTPM, hour,
		[]change{on(amdX), reportBy("Genoa", "vlek")}, []change{on(amdY), reportBy("Genoa", "vcek")}, "alert", ""},
	{"chip-in-two-places", "on the word of a VLEK's firmware", poclog.AzureSNPvTPM, time.Minute,
		[]change{on(amdX), reportBy("Genoa", "vcek")}, []change{on(amdX), reportBy("Genoa", "vlek"), entry(func(e *poclog.Entry) { e.Place.Provider.Value = "metal" })}, "alert", ""},
	{"chip-static-changed", "a firmware update", poclog.TDX, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.TCB = &poclog.TCB{Status: "OutOfDate", Evaluation: 18} })}, "", ""},
	{"chip-static-changed", "masked", poclog.SNP, hour,
		[]change{on(""), entry(func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: "Milan"} })},
		[]change{on(""), entry(func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: "Genoa"} })}, "", ""},

	{"chip-in-two-places", "within minutes", poclog.GCETDXvTPM, 5 * time.Minute, nil, []change{by(akB), zone("us-east1-b")}, "contradiction", ""},
	{"chip-in-two-places", "one key, which never said where it is", poclog.GCETDXvTPM, 5 * time.Minute, nil, []change{zone("us-east1-b")}, "contradiction", ""},
	{"chip-in-two-places", "of two providers", poclog.GCETDXvTPM, 5 * time.Minute, nil, []change{entry(func(e *poclog.Entry) { e.Place.Provider.Value = "metal" })}, "contradiction", ""},
	{"chip-in-two-places", "within the move time", poclog.GCETDXvTPM, 23 * hour, nil, []change{zone("us-east1-b")}, "contradiction", ""},
	{"chip-in-two-places", "relocated with notice", poclog.GCETDXvTPM, 25 * hour, nil, []change{zone("us-east1-b")}, "moved", ""},
	{"chip-in-two-places", "relocated, and the receipt lost its first checkpoint", poclog.GCETDXvTPM, 25 * hour, []change{func(c *rule.Claim) { c.T2 = at(100 * hour) }}, []change{zone("us-east1-b")}, "alert", ""},
	{"chip-in-two-places", "relocated, and the submission was delayed by a day", poclog.GCETDXvTPM, 40 * hour, []change{func(c *rule.Claim) { c.T2 = at(23 * hour) }}, []change{zone("us-east1-b")}, "alert", ""},
	{"chip-in-two-places", "without witnesses", poclog.GCETDXvTPM, time.Minute, []change{untimed}, []change{zone("us-east1-b")}, "alert", ""},
	{"chip-in-two-places", "one of them by a hint", poclog.GCETDXvTPM, time.Minute, nil, []change{entry(func(e *poclog.Entry) {
		e.Place = &poclog.Place{Provider: said("gce", "ak-certificate"), Region: said("us-east1", "aia-hint"), Zone: said("us-east1-b", "aia-hint")}
	})}, "", ""},
	{"chip-in-two-places", "regions by hints alone", poclog.AzureTDXvTPM, time.Minute, nil, []change{entry(func(e *poclog.Entry) { e.Place.Region.Value = "eastus" })}, "", ""},
	{"chip-in-two-places", "at level 0", poclog.GCETDXvTPM, time.Minute, nil, []change{zone("us-east1-b"), without("tee.launch")}, "", ""},
	{"chip-in-two-places", "nothing says the zone", poclog.GCETDXvTPM, time.Minute, nil, []change{entry(func(e *poclog.Entry) { e.Place = &poclog.Place{Provider: said("gce", "vlek")} })}, "", ""},

	{"two-aks-for-instance", "of one type", poclog.GCETDXvTPM, hour, nil, []change{by(akB)}, "contradiction", "provider:gce"},
	{"two-aks-for-instance", "even on another chip, of another boot", poclog.GCETDXvTPM, hour, nil, []change{by(akB), on(chipY), in(9, 9), historical}, "contradiction", "provider:gce"},
	{"two-aks-for-instance", "RSA and ECC", poclog.GCETDXvTPM, hour, nil, []change{by(akB), entry(func(e *poclog.Entry) { e.TPM.KeyType = "rsa-2048" })}, "", ""},
	{"two-aks-for-instance", "AK lost at re-provisioning", poclog.AzureTDXvTPM, hour, nil, []change{by(akB)}, "", ""},
	{"two-aks-for-instance", "a clone of the disk", poclog.GCETDXvTPM, hour, nil, []change{by(akB), entry(func(e *poclog.Entry) { e.Instance = vm2 })}, "", ""},

	{"two-tpms-on-chassis", "within minutes", poclog.BareMetalTDXTPM, 5 * time.Minute, nil, []change{by(akB), ek(ekB)}, "contradiction", ""},
	{"two-tpms-on-chassis", "replaced", poclog.BareMetalTDXTPM, 2 * hour, nil, []change{by(akB), ek(ekB)}, "moved", ""},
	{"two-tpms-on-chassis", "without witnesses", poclog.BareMetalTDXTPM, 2 * hour, nil, []change{by(akB), ek(ekB), untimed}, "alert", ""},
	{"two-tpms-on-chassis", "with the receipt's first checkpoint lost", poclog.BareMetalTDXTPM, 2 * hour, []change{func(c *rule.Claim) { c.T2 = at(9 * hour) }}, []change{by(akB), ek(ekB)}, "alert", ""},
	{"two-tpms-on-chassis", "at level 0", poclog.BareMetalTDXTPM, time.Minute, nil, []change{by(akB), ek(ekB), without("bind.txt"), without("bind.ak-in-tee")}, "", ""},
	{"two-tpms-on-chassis", "vTPMs of many VMs on a chip", poclog.AzureTDXvTPM, time.Minute, nil, []change{by(akB), entry(func(e *poclog.Entry) { e.Keys[1] = ekB })}, "", ""},

	{"boot-forked", "two firmwares", poclog.GCETDXvTPM, hour, nil, []change{firmware("other")}, "contradiction", string(akA)},
	{"boot-forked", "two firmwares of a machine", poclog.BareMetalTDXTPM, hour, nil, []change{firmware("other")}, "contradiction", string(akA)},
	{"boot-forked", "two launch measurements", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.Measurement = bytes.Repeat([]byte{8}, 48) })}, "contradiction", string(akA)},
	{"boot-forked", "two RTMR1", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.RTMRs = [][48]byte{{1}, {9}, {3}, {}} })}, "contradiction", string(akA)},
	{"boot-forked", "RTMRs that one of the entries leaves out: zeros", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.RTMRs = nil })}, "contradiction", string(akA)},
	{"boot-forked", "RTMRs that both leave out", poclog.GCETDXvTPM, hour, []change{entry(func(e *poclog.Entry) { e.CVM.RTMRs = nil })}, []change{entry(func(e *poclog.Entry) { e.CVM.RTMRs = nil })}, "", ""},
	{"boot-forked", "many TDs on a machine", poclog.BareMetalTDXTPM, hour, nil, []change{entry(func(e *poclog.Entry) {
		e.CVM.RTMRs, e.CVM.Measurement = [][48]byte{{8}, {9}, {3}, {}}, bytes.Repeat([]byte{8}, 48)
	})}, "", ""},
	{"boot-forked", "what the system extends", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) {
		e.CVM.RTMRs, e.TPM.PCRDigest = [][48]byte{{1}, {2}, {8}, {9}}, []byte{3}
	})}, "", ""},
	{"boot-forked", "another boot", poclog.GCETDXvTPM, hour, nil, []change{firmware("other"), in(6, 0)}, "", ""},
	{"boot-forked", "another key", poclog.GCETDXvTPM, hour, nil, []change{firmware("other"), by(akB)}, "", ""},
	{"boot-forked", "another bank", poclog.GCETDXvTPM, hour, nil, []change{firmware("other"), entry(func(e *poclog.Entry) { e.TPM.PCRs[0].Alg = "sha512" })}, "", ""},
	{"boot-forked", "fewer registers quoted", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.TPM.PCRs[0].Firmware = nil })}, "", ""},
	{"boot-forked", "another's TD beside the TPM quote", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.Measurement = bytes.Repeat([]byte{8}, 48) }), without("bind.tee-in-tpm")}, "", ""},

	{"tpm-rewound", "fewer resets", poclog.GCETDXvTPM, hour, nil, []change{in(4, 0)}, "alert", ""},
	{"tpm-rewound", "fewer restarts", poclog.GCETDXvTPM, hour, []change{in(5, 2)}, []change{in(5, 1)}, "alert", ""},
	{"tpm-rewound", "a safe clock that went back", poclog.GCETDXvTPM, hour, nil, []change{clock(10, true)}, "alert", ""},
	{"tpm-rewound", "by the tree alone", poclog.GCETDXvTPM, time.Second, []change{untimed}, []change{clock(10, true), untimed, afterE}, "alert", ""},
	{"tpm-rewound", "a clock that is not safe", poclog.GCETDXvTPM, hour, nil, []change{clock(10, false)}, "", ""},
	{"tpm-rewound", "another boot's clock", poclog.GCETDXvTPM, hour, nil, []change{clock(10, true), in(6, 0)}, "", ""},
	{"tpm-rewound", "counters that wrap around", poclog.GCETDXvTPM, hour, []change{in(1<<32-1, 0)}, []change{in(0, 0)}, "", ""},
	{"tpm-rewound", "evidence that arrives late", poclog.GCETDXvTPM, 0, nil, []change{in(4, 0)}, "", ""},
	{"tpm-rewound", "loosened receipts", poclog.GCETDXvTPM, hour, []change{func(c *rule.Claim) { c.T2 = at(9 * hour) }}, []change{in(4, 0)}, "", ""},
	{"tpm-rewound", "a challenge whose root is of another history", poclog.GCETDXvTPM, time.Second, nil, []change{in(4, 0), afterE, func(c *rule.Claim) { c.Rooted = false }}, "", ""},
	{"tpm-rewound", "historical evidence", poclog.GCETDXvTPM, hour, nil, []change{in(4, 0), historical}, "", ""},
	{"tpm-rewound", "two keys", poclog.GCETDXvTPM, hour, nil, []change{in(4, 0), by(akB)}, "", ""},

	{"collateral-regressed", "an older evaluation", poclog.GCETDXvTPM, hour, nil, []change{evaluation(16), on(chipY)}, "contradiction", "log:a.test"},
	{"collateral-regressed", "a newer one", poclog.GCETDXvTPM, hour, nil, []change{evaluation(18)}, "", ""},
	{"collateral-regressed", "two admissions at once", poclog.GCETDXvTPM, time.Second, nil, []change{evaluation(16)}, "", ""},
	{"collateral-regressed", "what was appraised first is logged second", poclog.GCETDXvTPM, -hour, nil, []change{evaluation(16)}, "", ""},
	{"collateral-regressed", "another log's", poclog.GCETDXvTPM, hour, nil, []change{evaluation(16), func(c *rule.Claim) { c.Origin = "b.test" }}, "", ""},
	{"collateral-regressed", "another FMSPC", poclog.GCETDXvTPM, hour, nil, []change{evaluation(16), entry(func(e *poclog.Entry) { e.CVM.FMSPC = []byte{9, 9, 9, 9, 9, 9} })}, "", ""},
	{"collateral-regressed", "historical evidence", poclog.GCETDXvTPM, hour, nil, []change{evaluation(16), historical}, "", ""},
	{"collateral-regressed", "without collateral", poclog.GCETDXvTPM, hour, nil, []change{entry(func(e *poclog.Entry) { e.CVM.TCB = nil })}, "", ""},
	{"collateral-regressed", "two makers of a laboratory", poclog.GCETDXvTPM, hour, []change{inLab}, []change{evaluation(16), on(chipY), inLab}, "", ""},
	{"collateral-regressed", "one chip of a laboratory", poclog.GCETDXvTPM, hour, []change{inLab}, []change{evaluation(16), inLab}, "contradiction", "log:a.test"},
}

func reportBy(product, signer string) change {
	return entry(func(e *poclog.Entry) { e.CVM.SNP = &poclog.SNPReport{Product: product, Signer: signer} })
}

func inLab(c *rule.Claim) { c.Entry.Realm = poclog.Lab }

func firmware(what string) change {
	return entry(func(e *poclog.Entry) { d := poclog.Sum([]byte(what)); e.TPM.PCRs[0].Firmware = &d })
}
func clock(ms uint64, safe bool) change {
	return entry(func(e *poclog.Entry) { e.TPM.Clock, e.TPM.Safe = ms, safe })
}
func evaluation(n uint32) change {
	return entry(func(e *poclog.Entry) { e.CVM.TCB = &poclog.TCB{Status: "UpToDate", Evaluation: n} })
}

func TestRulesFindAttacksAndLeaveHonestOperationAlone(t *testing.T) {
	tried := make(map[string]int)
	for _, c := range cases {
		e, f := proof(c.profile, 0), proof(c.profile, c.apart)
		f.Index = 9
		for _, change := range c.e {
			change(e)
		}
		for _, change := range c.f {
			change(f)
		}
		r, ok := rule.Lookup(c.rule)
		if !ok {
			t.Fatalf("no rule %s", c.rule)
		}
		tried[c.rule]++
		found := r.Run(e, f, rule.Limits{})
		if again := r.Run(f, e, rule.Limits{}); !reflect.DeepEqual(found, again) {
			t.Errorf("%s: %s: it depends on the order: %+v and %+v", c.rule, c.name, found, again)
		}
		got, implicated := "", ""
		if found != nil {
			got, implicated = string(found.Severity), strings.Join(found.Implicated, " ")
			if found.Rule == rule.Moved && found.Severity == rule.Information {
				got = rule.Moved
			} else if found.Rule != c.rule {
				t.Errorf("%s: %s: the finding is of rule %s", c.rule, c.name, found.Rule)
			}
			checkFinding(t, found)
			if !shareCandidates(&r, e, f) {
				t.Errorf("%s: %s: the facets do not make them candidates: %v and %v", c.rule, c.name, facetsOf(&r, e), facetsOf(&r, f))
			}
		}
		if got != c.want || implicated != c.implicated {
			t.Errorf("%s: %s: finds %q implicating %q: want %q implicating %q (%+v)", c.rule, c.name, got, implicated, c.want, c.implicated, found)
		}
	}
	for _, r := range rule.All() {
		if r.Check != nil && tried[r.ID] < 3 {
			t.Errorf("rule %s is tried %d times", r.ID, tried[r.ID])
		}
	}
}

// checkFinding holds every finding to what people are promised: two sentences, and nobody both
// accused and pitied, nor accused by an alert.
func checkFinding(t *testing.T, f *rule.Finding) {
	t.Helper()
	for _, s := range []string{f.Seen, f.Meaning} {
		if !strings.HasSuffix(s, ".") || strings.Contains(s, "\n") || strings.Count(s, ". ") > 0 {
			t.Errorf("%s: %q is no sentence", f.Rule, s)
		}
	}
	for _, id := range f.Affected {
		if slices.Contains(f.Implicated, string(id)) || id == "" {
			t.Errorf("%s: %q is implicated and affected", f.Rule, id)
		}
	}
	if f.Severity != rule.Contradiction && len(f.Implicated) > 0 {
		t.Errorf("%s: %s implicates %v", f.Rule, f.Severity, f.Implicated)
	}
}

// shareCandidates reports whether an index over the facets would bring two claims together.
func shareCandidates(r *rule.Rule, e, f *rule.Claim) bool {
	for _, a := range facetsOf(r, e) {
		for _, b := range facetsOf(r, f) {
			if slices.EqualFunc(a.Key[:], b.Key[:], bytes.Equal) && (a.Rank != b.Rank || !slices.EqualFunc(a.Value[:], b.Value[:], bytes.Equal)) {
				return true
			}
		}
	}
	return false
}

func facetsOf(r *rule.Rule, c *rule.Claim) (list []rule.Facet) {
	r.Facets(c.View(), func(f rule.Facet) { list = append(list, f) })
	return list
}

func TestAClaimDoesNotContradictItself(t *testing.T) {
	e, f := proof(poclog.GCETDXvTPM, 0), proof(poclog.GCETDXvTPM, hour)
	on(chipY)(f)
	if found := rule.Compare(e, f); found != nil {
		t.Errorf("entry 5 twice: %+v", found[0])
	}
}

func TestThatSomethingMovedIsFoundOnce(t *testing.T) {
	e, f := proof(poclog.GCETDXvTPM, 0), proof(poclog.GCETDXvTPM, hour)
	f.Index = 9
	on(chipY)(f)
	in(6, 0)(f)
	f.Entry.Quote = quoteQ
	if found := rule.Compare(e, f); len(found) != 1 || found[0].Rule != rule.Moved {
		t.Errorf("%+v", found)
	}
}

func TestIntervalsAreHeldToTheLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		change change
		want   bool
	}{
		{"in order", func(*rule.Claim) {}, false},
		{"judged a minute before it was made, by the log's clock", entry(func(e *poclog.Entry) { e.Appraised = at(-time.Minute) }), false},
		{"judged long before it was made", entry(func(e *poclog.Entry) { e.Appraised = at(-time.Minute - time.Second) }), true},
		{"judged a minute after it was logged", entry(func(e *poclog.Entry) { e.Appraised = at(2 * time.Minute) }), false},
		{"judged long after it was logged", entry(func(e *poclog.Entry) { e.Appraised = at(2*time.Minute + time.Second) }), true},
		{"made after it was logged", func(c *rule.Claim) { c.T1, c.T2 = at(time.Hour), at(0); c.Entry.Appraised = at(time.Minute) }, true},
		{"made after it was logged, by clocks that differ", func(c *rule.Claim) { c.T1, c.T2 = at(time.Minute), at(0); c.Entry.Appraised = at(time.Second) }, false},
		{"without witnesses", func(c *rule.Claim) { untimed(c); c.Entry.Appraised = at(-9 * time.Hour) }, false},
		{"historical", func(c *rule.Claim) { c.T1, c.Entry.Fresh, c.Entry.Appraised = time.Time{}, nil, at(9*time.Hour) }, false},
	} {
		claim := proof(poclog.GCETDXvTPM, 0)
		c.change(claim)
		found := rule.Judge(claim)
		if (len(found) == 1) != c.want {
			t.Errorf("%s: %+v", c.name, found)
			continue
		}
		if c.want && (found[0].Rule != "interval-inverted" || strings.Join(found[0].Implicated, "") != "log:a.test") {
			t.Errorf("%s: %+v", c.name, found[0])
		}
	}
}

func TestLimitsAreTheReaders(t *testing.T) {
	e, f := proof(poclog.BareMetalTDXTPM, 0), proof(poclog.BareMetalTDXTPM, 2*hour)
	f.Index = 9
	zone("south-b")(f)
	ek(ekB)(f)
	by(akB)(f)
	for _, c := range []struct {
		limits rule.Limits
		want   string
	}{
		{rule.Limits{}, "chip-in-two-places contradiction, moved information"},
		{rule.Limits{SwapTime: 3 * hour}, "chip-in-two-places contradiction, two-tpms-on-chassis contradiction"},
		{rule.Limits{MoveTime: hour}, "moved information"},
		{rule.Limits{MoveTime: 2 * hour}, "chip-in-two-places alert, moved information"},
	} {
		var got []string
		for _, found := range c.limits.Compare(e, f) {
			got = append(got, found.Rule+" "+string(found.Severity))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%+v: %s: want %s", c.limits, got, c.want)
		}
	}
}
