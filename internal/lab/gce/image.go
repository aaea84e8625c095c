package gce

import (
	"bytes"
	"crypto"
	"fmt"

	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify/tpm"
)

// An Image is what a VM boots: the story that its firmware, boot loader and kernel measure, into
// the TPM and into the TD's registers. It does not change once made.
type Image struct {
	Name   string
	TCGLog []byte // without padding
	CCEL   []byte
	RTMRs  [4][48]byte

	pcrs map[tpm.Alg][24][]byte
}

// ImageOf makes an image of two logs of one boot, with or without padding, and replays them to the
// registers that a machine would hold.
func ImageOf(name string, tcgLog, ccel []byte) (*Image, error) {
	img := &Image{Name: name, pcrs: make(map[tpm.Alg][24][]byte)}
	ofTPM, end, err := readLog(tcgLog)
	if err != nil {
		return nil, fmt.Errorf("image %s: TPM log: %w", name, err)
	}
	img.TCGLog = tcgLog[:end:end]
	ofTD, end, err := readLog(ccel)
	if err != nil {
		return nil, fmt.Errorf("image %s: CCEL: %w", name, err)
	}
	img.CCEL = ccel[:end:end]
	for _, alg := range bankAlgs {
		var bank [24][]byte
		for pcr := range bank {
			bank[pcr] = make([]byte, alg.Hash().Size())
		}
		for _, e := range ofTPM {
			if e.kind != evNoAction && int(e.index) < len(bank) {
				bank[e.index] = extend(alg.Hash(), bank[e.index], e.digests[alg])
			}
		}
		img.pcrs[alg] = bank
	}
	for _, e := range ofTD {
		if r := int(e.index) - 1; e.kind != evNoAction && r >= 0 && r < len(img.RTMRs) {
			img.RTMRs[r] = [48]byte(extend(crypto.SHA384, img.RTMRs[r][:], e.digests[tpm.SHA384]))
		}
	}
	return img, nil
}

func extend(h crypto.Hash, value, digest []byte) []byte {
	d := h.New()
	d.Write(value)
	d.Write(digest)
	return d.Sum(nil)
}

// RealImages returns the images whose logs come with the module go-eventlog, or an error where it
// is not at hand: the pair of logs of one boot of Ubuntu 24.04, and the TPM log of a
// Container-Optimized OS with the CCEL that its machine would have had.
func RealImages() ([]*Image, error) {
	tcg, err := realdata.EventLog("tpm", realdata.PairTPM)
	if err != nil {
		return nil, fmt.Errorf("real images: %w", err)
	}
	ccel, err := realdata.EventLog("ccel", realdata.PairCCEL)
	if err != nil {
		return nil, fmt.Errorf("real images: %w", err)
	}
	pair, err := ImageOf("ubuntu-2404", tcg, ccel)
	if err != nil {
		return nil, err
	}
	if tcg, err = realdata.EventLog("tpm", "cos-125-intel-tdx-secure-boot.bin"); err != nil {
		return nil, fmt.Errorf("real images: %w", err)
	}
	events, _, err := readLog(tcg)
	if err != nil {
		return nil, fmt.Errorf("real images: %w", err)
	}
	twin, err := ImageOf("cos-125", tcg, writeCCEL(ccelOf(events, "cos-125")))
	if err != nil {
		return nil, err
	}
	return []*Image{pair, twin}, nil
}

// utf16 encodes ASCII text as firmware writes it, with a final NUL.
func utf16(text string) []byte {
	var b []byte
	for _, c := range []byte(text + "\x00") {
		b = append(b, c, 0)
	}
	return b
}

// SyntheticImage makes up an image whose logs have the structure of a real machine's: every
// register, separator and one-sided event of honest firmware, with contents of its own for each
// name.
func SyntheticImage(name string) *Image {
	var s story
	content := func(what string, n int) []byte { return octets(n, "image", name, what) }
	s.quiet(0, append([]byte("SP800-155 Event3"), content("platform", 144)...))
	s.add(0, evCRTMVersion, utf16("GCE Virtual Firmware v2"))
	s.add(0, evNonhostInfo, append([]byte("GCE NonHostInfo\x00\x03"), make([]byte, 15)...))
	for _, variable := range []string{"SecureBoot", "PK", "KEK", "db", "dbx"} {
		s.add(7, evVariableConfig, append(utf16(variable), content(variable, 200)...))
	}
	s.separator(7)
	for i := range 3 {
		s.opaque(1, evTableOfDevices, []byte("ACPI DATA"), content(fmt.Sprint("acpi", i), 48))
	}
	for i := range 8 {
		s.add(1, evVariableBoot, append(utf16(fmt.Sprintf("Boot%04d", i)), content(fmt.Sprint("boot", i), 80)...))
	}
	s.add(4, evEFIAction, []byte("Calling EFI Application from Boot Option"))
	for pcr := range uint32(7) {
		s.separator(pcr)
	}
	s.opaque(5, evGPT, append([]byte("EFI PART"), content("partitions", 400)...), content("gpt", 48))
	s.opaque(4, evBootApplication, content("shim path", 90), content("shim", 48))
	for _, list := range []string{"MokList", "MokListX", "MokListTrusted"} {
		s.opaque(14, evIPL, []byte(list+"\x00"), content(list, 48))
	}
	s.add(7, evVariableAuthority, append(utf16("SbatLevel"), content("sbat", 40)...))
	s.opaque(4, evBootApplication, content("grub path", 90), content("grub", 48))
	for i := range 12 {
		s.opaque(9, evIPL, fmt.Appendf(nil, "(hd0,gpt15)/grub/file-%d\x00", i), content(fmt.Sprint("file", i), 48))
		s.opaque(8, evIPL, fmt.Appendf(nil, "grub_cmd: command %d of %s\x00", i, name), content(fmt.Sprint("command", i), 48))
	}
	s.opaque(9, evEventTag, append([]byte{0xed, 0x22, 0x3b, 0x8f, 0x1a, 0, 0, 0}, "LOADED_IMAGE::LoadOptions\x00"...), content("options", 48))
	s.add(5, evEFIAction, []byte("Exit Boot Services Invocation"))
	s.add(5, evEFIAction, []byte("Exit Boot Services Returned with Success"))
	return must.Get(ImageOf(name, writeTCG(s.events), writeCCEL(ccelOf(s.events, name))))
}

// PCRs returns the values of a bank's registers, concatenated.
func (img *Image) PCRs(alg tpm.Alg, registers []int) []byte {
	var out bytes.Buffer
	bank := img.pcrs[alg]
	for _, pcr := range registers {
		out.Write(bank[pcr])
	}
	return out.Bytes()
}
