package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-configfs-tsm/configfs/linuxtsm"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tcglog"
)

// thisMachine is the machine on which the process runs. Tests put a laboratory's in its place.
var thisMachine = func(tpm, imds string) *attest.Machine {
	return &attest.Machine{
		TSM: linuxtsm.MakeClient, TPM: func() (transport.TPMCloser, error) { return importer.OpenTPM(tpm) }, IMDS: &importer.IMDS{URL: imds},
		Issuers: &attest.Issuers{Cache: filepath.Join(xdg("XDG_CACHE_HOME", ".cache"), "poclog", "issuers")},
	}
}

// machineFlags say where the pieces of evidence are.
type machineFlags struct {
	profile          string
	tpm, imds        string
	ak, persist      string
	akChain, ekChain []string
	tcgLog, ccel     string
}

func (f *machineFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.profile, "profile", "", "the profile of the evidence (default: by the cloud)")
	fs.StringVar(&f.tpm, "tpm", "/dev/tpmrm0", "the TPM: a device or a socket")
	fs.StringVar(&f.imds, "imds", importer.AzureIMDS, "Azure's instance metadata service")
	fs.StringVar(&f.ak, "ak", "", "bare metal: the AK, as a persistent handle (0x81…) or a file with its template (TPMT_PUBLIC)")
	fs.StringArrayVar(&f.akChain, "ak-chain", nil, "certificates of the AK and its issuers, PEM or DER; issuers that it lacks are fetched")
	fs.StringArrayVar(&f.ekChain, "ek-chain", nil, "bare metal: certificates of the EK and its issuers, PEM or DER")
	fs.StringVar(&f.persist, "persist", "", "Compute Engine: keep the AK in the TPM at this handle (0x81…) instead of making it anew each time")
	fs.StringVar(&f.tcgLog, "tcg-log", "", "the TPM's event log (default: the kernel's)")
	fs.StringVar(&f.ccel, "ccel", "", "the TD's event log (default: the kernel's)")
}

// options reads what the flags name.
func (f *machineFlags) options(cmd *cobra.Command) (*attest.Options, error) {
	o := new(attest.Options)
	var err error
	if f.profile != "" {
		if o.Profile, err = poclog.ParseProfile(f.profile); err != nil {
			return nil, usagef("--profile: %w", err)
		}
	}
	if o.Persist, err = parseHandle(f.persist); err != nil {
		return nil, usagef("--persist: %w", err)
	}
	if strings.HasPrefix(f.ak, "0x") {
		if o.AKHandle, err = parseHandle(f.ak); err != nil {
			return nil, usagef("--ak: %w", err)
		}
	} else if f.ak != "" {
		if o.AKTemplate, err = readFile(cmd, f.ak, maxTemplate); err != nil {
			return nil, err
		}
		o.AKTemplate = importer.TrimPublic(o.AKTemplate)
	}
	if o.AKCerts, err = readCertificates(cmd, f.akChain); err != nil {
		return nil, err
	}
	if o.EKCerts, err = readCertificates(cmd, f.ekChain); err != nil {
		return nil, err
	}
	if o.TCGLog, err = readOptional(cmd, f.tcgLog, tcglog.MaxLog); err != nil {
		return nil, err
	}
	if o.CCEL, err = readOptional(cmd, f.ccel, tcglog.MaxLog); err != nil {
		return nil, err
	}
	return o, nil
}

// pieceFlags are the flags of pieces that evidence of a profile has.
var pieceFlags = map[poclog.Profile][]string{
	poclog.GCETDXvTPM:      {"tpm", "ak-chain", "persist", "tcg-log", "ccel"},
	poclog.BareMetalTDXTPM: {"tpm", "ak", "ak-chain", "ek-chain", "tcg-log", "ccel"},
	poclog.AzureTDXvTPM:    {"tpm", "imds", "ak-chain"},
	poclog.AzureSNPvTPM:    {"tpm", "imds", "ak-chain"},
}

// used refuses flags of pieces that the machine's evidence does not have. What the machine is may
// be found out later only.
func (f *machineFlags) used(cmd *cobra.Command, m *attest.Machine, o *attest.Options) error {
	p, err := m.Profile(o)
	if err != nil {
		return nil
	}
	var others []string
	for _, name := range []string{"tpm", "imds", "ak", "ak-chain", "ek-chain", "persist", "tcg-log", "ccel"} {
		if !slices.Contains(pieceFlags[p], name) {
			others = append(others, name)
		}
	}
	return unused(cmd, fmt.Sprintf("evidence of profile %s has no such piece", p), others...)
}

// maxTemplate is over what any TPMT_PUBLIC has.
const maxTemplate = 4096

// parseHandle reads the handle of a persistent object (TPM 2.0 Part 2, §7.5): 0x81000000 to
// 0x81ffffff.
func parseHandle(s string) (tpm2.TPMHandle, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil || n>>24 != 0x81 {
		return 0, fmt.Errorf("handle %.20q: want 0x81000000 to 0x81ffffff", s)
	}
	return tpm2.TPMHandle(n), nil
}

func readCertificates(cmd *cobra.Command, paths []string) (ders [][]byte, err error) {
	for _, path := range paths {
		b, err := readFile(cmd, path, importer.MaxFile)
		if err != nil {
			return nil, err
		}
		list, err := importer.Certificates(b)
		if err != nil {
			return nil, usagef("%s: %w", path, err)
		}
		ders = append(ders, list...)
	}
	return ders, nil
}

// attestState is the folder of a log's series, if none is named.
func attestState(url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "poclog", "attest", hex.EncodeToString(sum[:8]))
}
