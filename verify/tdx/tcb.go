package tdx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Members of Intel's TCB info, version 3, and QE identity, version 2, as PCS API v4 has them.
type (
	tcbInfo struct {
		head
		FMSPC   hexOctets   `json:"fmspc"`
		PCEID   hexOctets   `json:"pceId"`
		Module  tdxModule   `json:"tdxModule"`
		Modules []tdxModule `json:"tdxModuleIdentities"`
	}
	head struct {
		ID         string     `json:"id"`
		Version    int        `json:"version"`
		IssueDate  time.Time  `json:"issueDate"`
		NextUpdate time.Time  `json:"nextUpdate"`
		Evaluation uint32     `json:"tcbEvaluationDataNumber"`
		Levels     []tcbLevel `json:"tcbLevels"`
	}
	tdxModule struct {
		ID         string     `json:"id"`
		MRSigner   hexOctets  `json:"mrsigner"`
		Attributes hexOctets  `json:"attributes"`
		Mask       hexOctets  `json:"attributesMask"`
		Levels     []tcbLevel `json:"tcbLevels"`
	}
	tcbLevel struct {
		TCB struct {
			SGX    []component `json:"sgxtcbcomponents"`
			TDX    []component `json:"tdxtcbcomponents"`
			PCESVN uint16      `json:"pcesvn"`
			ISVSVN uint16      `json:"isvsvn"`
		} `json:"tcb"`
		Date       time.Time `json:"tcbDate"`
		Status     string    `json:"tcbStatus"`
		Advisories []string  `json:"advisoryIDs"`
	}
	component struct {
		SVN uint8 `json:"svn"`
	}
	qeIdentity struct {
		head
		MiscSelect     hexOctets `json:"miscselect"`
		MiscMask       hexOctets `json:"miscselectMask"`
		Attributes     hexOctets `json:"attributes"`
		AttributesMask hexOctets `json:"attributesMask"`
		MRSigner       hexOctets `json:"mrsigner"`
		ProdID         uint16    `json:"isvprodid"`
	}
)

type hexOctets []byte

func (h *hexOctets) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

func (t *tcbInfo) isFor(fmspc [6]byte, pceid [2]byte) error {
	if !bytes.Equal(t.FMSPC, fmspc[:]) || !bytes.Equal(t.PCEID, pceid[:]) {
		return fmt.Errorf("TCB info for FMSPC %x, PCEID %x: the platform has %x, %x", []byte(t.FMSPC), []byte(t.PCEID), fmspc, pceid)
	}
	return nil
}

// Statuses of Intel's TCB recovery.
const (
	upToDate                   = "UpToDate"
	outOfDate                  = "OutOfDate"
	revokedStatus              = "Revoked"
	swHardening                = "SWHardeningNeeded"
	configuration              = "ConfigurationNeeded"
	configurationSWHardening   = "ConfigurationAndSWHardeningNeeded"
	outOfDateConfigurationNeed = "OutOfDateConfigurationNeeded"
)

// TCB finds where the platform, its TDX module and its quoting enclave stand, by the algorithm of
// Intel's PCS API v4: the first level that each reaches, and the worst of the three. It does not
// judge the status: [CheckTCB] does. Failures are [verify.TEETCB].
func (c *Collateral) TCB(q *Quote) (*poclog.TCB, error) { return c.tcbOf(q.Standing()) }

func (c *Collateral) tcbOf(s *Standing) (*poclog.TCB, error) {
	level, err := c.tcbInfo.platformLevel(s)
	if err != nil {
		return nil, verify.Failf(verify.TEETCB, "%w", err)
	}
	module, err := c.tcbInfo.moduleLevel(s)
	if err != nil {
		return nil, verify.Failf(verify.TEETCB, "%w", err)
	}
	qe, err := c.qeIdentity.level(s)
	if err != nil {
		return nil, verify.Failf(verify.TEETCB, "%w", err)
	}
	status := level.Status
	advisories := slices.Clone(level.Advisories)
	for _, l := range []*tcbLevel{module, qe} {
		if l == nil {
			continue
		}
		if status, err = converge(status, l.Status); err != nil {
			return nil, verify.Failf(verify.TEETCB, "%w", err)
		}
		advisories = append(advisories, l.Advisories...)
	}
	slices.Sort(advisories)
	return &poclog.TCB{
		Status: status, Date: level.Date.UTC().Truncate(time.Second), Advisories: slices.Compact(advisories), Evaluation: c.tcbInfo.Evaluation,
	}, nil
}

// CheckTCB refuses a status that is not accepted. Failures are [verify.TEETCB].
func CheckTCB(tcb *poclog.TCB, accepted []string) error {
	if !slices.Contains(accepted, tcb.Status) {
		return verify.Failf(verify.TEETCB, "status %.40q (%s) is not one that the policy accepts: %s",
			tcb.Status, strings.Join(tcb.Advisories, ", "), strings.Join(accepted, ", "))
	}
	return nil
}

// converge joins a platform's status with that of its TDX module or quoting enclave.
func converge(platform, other string) (string, error) {
	switch {
	case platform == revokedStatus || other == revokedStatus:
		return revokedStatus, nil
	case other == upToDate || other == platform:
		return platform, nil
	case platform == upToDate:
		// Modules and enclaves are up to date, out of date or revoked; whatever else Intel may say
		// stands for itself.
		return other, nil
	case other != outOfDate:
		// Neither hides the other: which of them is worse, Intel does not say.
		return "", fmt.Errorf("the platform is %.40q, its TDX module or quoting enclave %.40q: want a status that can be joined", platform, other)
	case platform == configuration || platform == configurationSWHardening || platform == outOfDateConfigurationNeed:
		return outOfDateConfigurationNeed, nil
	}
	return outOfDate, nil
}

// platformLevel finds the first level whose every SVN the platform and the TD's report reach.
func (t *tcbInfo) platformLevel(s *Standing) (*tcbLevel, error) {
	for i := range t.Levels {
		l := &t.Levels[i]
		if len(l.TCB.SGX) != 16 || len(l.TCB.TDX) != 16 {
			return nil, fmt.Errorf("TCB level %d: %d SGX and %d TDX components: want 16", i, len(l.TCB.SGX), len(l.TCB.TDX))
		}
		if l.reached(s) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the platform reaches no TCB level: TEE_TCB_SVN %x, SGX components %x, PCESVN %d", s.TEETCBSVN, s.SVN, s.PCESVN)
}

func (l *tcbLevel) reached(s *Standing) bool {
	if s.PCESVN < l.TCB.PCESVN {
		return false
	}
	// Bytes 0 and 1 are the TDX module's own SVN and version, which the module's identity judges
	// where the version is not zero.
	first := 0
	if s.TEETCBSVN[1] > 0 {
		first = 2
	}
	for i := range 16 {
		if s.SVN[i] < l.TCB.SGX[i].SVN || i >= first && s.TEETCBSVN[i] < l.TCB.TDX[i].SVN {
			return false
		}
	}
	return true
}

// moduleLevel checks the TDX module's identity, and finds its level where it has levels of its own.
func (t *tcbInfo) moduleLevel(s *Standing) (*tcbLevel, error) {
	svn, version := s.TEETCBSVN[0], s.TEETCBSVN[1]
	module := &t.Module
	if version > 0 {
		id := fmt.Sprintf("TDX_%02x", version)
		at := slices.IndexFunc(t.Modules, func(m tdxModule) bool { return strings.EqualFold(m.ID, id) })
		if at < 0 {
			return nil, fmt.Errorf("TDX module %s: the TCB info does not know it", id)
		}
		module = &t.Modules[at]
	}
	if !bytes.Equal(module.MRSigner, s.MRSIGNERSEAM[:]) {
		return nil, fmt.Errorf("TDX module signed by %x: want %x", s.MRSIGNERSEAM, []byte(module.MRSigner))
	}
	if !masked(s.SEAMAttributes[:], module.Mask, module.Attributes) {
		return nil, fmt.Errorf("TDX module with attributes %x: want %x under mask %x", s.SEAMAttributes, []byte(module.Attributes), []byte(module.Mask))
	}
	if version == 0 {
		return nil, nil
	}
	return isvLevel(module.Levels, uint16(svn), "TDX module")
}

// level checks the quoting enclave's identity and finds its level.
func (i *qeIdentity) level(s *Standing) (*tcbLevel, error) {
	have := binary.BigEndian.AppendUint32(nil, s.QEMiscSelect)
	switch {
	case !masked(have, i.MiscMask, i.MiscSelect):
		return nil, fmt.Errorf("quoting enclave with MISCSELECT %x: want %x under mask %x", have, []byte(i.MiscSelect), []byte(i.MiscMask))
	case !masked(s.QEAttributes[:], i.AttributesMask, i.Attributes):
		return nil, fmt.Errorf("quoting enclave with attributes %x: want %x under mask %x", s.QEAttributes, []byte(i.Attributes), []byte(i.AttributesMask))
	case !bytes.Equal(s.QEMRSigner[:], i.MRSigner):
		return nil, fmt.Errorf("quoting enclave signed by %x: want %x", s.QEMRSigner, []byte(i.MRSigner))
	case s.QEProdID != i.ProdID:
		return nil, fmt.Errorf("quoting enclave with ISVPRODID %d: want %d", s.QEProdID, i.ProdID)
	}
	return isvLevel(i.Levels, s.QESVN, "quoting enclave")
}

func isvLevel(levels []tcbLevel, svn uint16, what string) (*tcbLevel, error) {
	for i := range levels {
		if svn >= levels[i].TCB.ISVSVN {
			return &levels[i], nil
		}
	}
	return nil, fmt.Errorf("%s of SVN %d reaches no TCB level", what, svn)
}

// masked reports whether have and want agree in the mask's bits. All three must have one length.
func masked(have, mask, want []byte) bool {
	if len(mask) != len(have) || len(want) != len(have) {
		return false
	}
	for i := range have {
		if have[i]&mask[i] != want[i]&mask[i] {
			return false
		}
	}
	return true
}
