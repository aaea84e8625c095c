// Package swtpm runs a real TPM 2.0 for tests: libtpms behind swtpm's socket
// (https://github.com/stefanberger/swtpm). Where swtpm is not installed the test is skipped and
// says so. Every failure ends the test. A TPM serves one goroutine at a time.
package swtpm

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// A TPM is a running TPM 2.0.
type TPM struct {
	transport.TPMCloser
	Socket string // where it listens
	ctrl   string
	t      testing.TB
	cmd    *exec.Cmd
}

// Start starts a TPM that ends with the test.
func Start(t testing.TB) *TPM {
	t.Helper()
	bin, err := exec.LookPath("swtpm")
	if err != nil {
		t.Skip("skipped: swtpm, a real TPM 2.0, is not installed (Debian: swtpm)")
	}
	// Paths of sockets are short: not below the test's own folder.
	dir, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		t.Fatal(err)
	}
	v := &TPM{Socket: filepath.Join(dir, "s"), ctrl: filepath.Join(dir, "c"), t: t}
	v.cmd = exec.Command(bin, "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+v.Socket,
		"--ctrl", "type=unixio,path="+v.ctrl, "--flags", "not-need-init")
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if v.TPMCloser != nil {
			_ = v.Close() // it may have ended with the process
		}
		_ = v.cmd.Process.Kill() // so that Wait returns
		_ = v.cmd.Wait()
		os.RemoveAll(dir)
	})
	v.connect()
	return v
}

func (v *TPM) connect() {
	v.t.Helper()
	var err error
	for range 1000 {
		if v.TPMCloser, err = linuxudstpm.Open(v.Socket); err == nil {
			// The socket is a file before anybody listens at it.
			if _, err = (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(v); !errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		v.t.Fatalf("connect to swtpm: %v", err)
	}
}

// do executes a command that the TPM is not to refuse.
func do[R any](v *TPM, cmd interface {
	Execute(transport.TPM, ...tpm2.Session) (*R, error)
}) *R {
	v.t.Helper()
	rsp, err := cmd.Execute(v)
	if err != nil {
		v.t.Fatalf("%T: %v", cmd, err)
	}
	return rsp
}

// withPassword names what a command is about, with its (empty) password.
func withPassword(of tpm2.NamedHandle) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: of.Handle, Name: of.Name, Auth: tpm2.PasswordAuth(nil)}
}

// Commands of swtpm's control channel (swtpm_ioctls(3)).
const (
	cmdInit        = 2 // a power cycle
	cmdSetLocality = 5
	cmdHashStart   = 6
	cmdHashData    = 7
	cmdHashEnd     = 8
)

// control sends commands to the control channel, one after the other over one connection.
func (v *TPM) control(commands ...[]byte) {
	v.t.Helper()
	conn, err := net.Dial("unix", v.ctrl)
	if err != nil {
		v.t.Fatalf("swtpm's control channel: %v", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		v.t.Fatal(err)
	}
	for _, c := range commands {
		var result [4]byte
		if _, err = conn.Write(c); err == nil {
			_, err = io.ReadFull(conn, result[:])
		}
		if err != nil || result != [4]byte{} {
			v.t.Fatalf("swtpm's control channel: command %d: result %x: %v", c[3], result, err)
		}
	}
}

func command(code uint32) []byte { return binary.BigEndian.AppendUint32(nil, code) }

// Reset cuts the power and starts the TPM anew: the reset count rises, PCRs are zero, and keys that
// Create made are to be made again. The clock is not safe after it, as a TPM that was not shut down
// may have lost some of it.
func (v *TPM) Reset() {
	v.t.Helper()
	v.control(binary.BigEndian.AppendUint32(command(cmdInit), 0)) // no flags: state is kept
	do(v, tpm2.Startup{StartupType: tpm2.TPMSUClear})
}

// Template returns the template of a restricted attestation key: ECDSA on P-256, or RSASSA with
// 2,048 bits. A policy, if any, is the only way to use the key.
func Template(rsa bool, policy []byte) tpm2.TPMTPublic {
	t := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: len(policy) == 0, Restricted: true, SignEncrypt: true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policy},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme:  tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}, Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
	if rsa {
		t.Type = tpm2.TPMAlgRSA
		t.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Scheme:    tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgRSASSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256})},
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}, KeyBits: 2048,
		})
		t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	}
	return t
}

// An AK is a key in the TPM.
type AK struct {
	tpm    *TPM
	Handle tpm2.NamedHandle
	Public []byte // TPMT_PUBLIC
}

// Create makes a primary key of the endorsement hierarchy: the same one for the same template, as
// long as the TPM lives.
func (v *TPM) Create(template tpm2.TPMTPublic) *AK {
	v.t.Helper()
	return v.CreateIn(tpm2.TPMRHEndorsement, template)
}

// CreateIn makes a primary key of a hierarchy.
func (v *TPM) CreateIn(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) *AK {
	v.t.Helper()
	rsp := do(v, tpm2.CreatePrimary{
		PrimaryHandle: withPassword(tpm2.NamedHandle{Handle: hierarchy}), InPublic: tpm2.New2B(template),
	})
	return v.key(rsp.ObjectHandle, rsp.Name, rsp.OutPublic)
}

// CreateUnder makes a key under a storage key, and loads it.
func (v *TPM) CreateUnder(parent *AK, template tpm2.TPMTPublic) *AK {
	v.t.Helper()
	handle := withPassword(parent.Handle)
	made := do(v, tpm2.Create{ParentHandle: handle, InPublic: tpm2.New2B(template)})
	rsp := do(v, tpm2.Load{ParentHandle: handle, InPrivate: made.OutPrivate, InPublic: made.OutPublic})
	return v.key(rsp.ObjectHandle, rsp.Name, made.OutPublic)
}

func (v *TPM) key(handle tpm2.TPMHandle, name tpm2.TPM2BName, public tpm2.TPM2BPublic) *AK {
	v.t.Helper()
	contents, err := public.Contents()
	if err != nil {
		v.t.Fatal(err)
	}
	return &AK{tpm: v, Handle: tpm2.NamedHandle{Handle: handle, Name: name}, Public: tpm2.Marshal(contents)}
}

// Flush unloads a key: a TPM holds three.
func (ak *AK) Flush() {
	ak.tpm.t.Helper()
	do(ak.tpm, tpm2.FlushContext{FlushHandle: ak.Handle.Handle})
}

// QualifiedName returns what TPM2_ReadPublic says of the key's place in the tree.
func (ak *AK) QualifiedName() []byte {
	ak.tpm.t.Helper()
	return do(ak.tpm, tpm2.ReadPublic{ObjectHandle: ak.Handle.Handle}).QualifiedName.Buffer
}

// Extend extends a PCR of all banks with the digest of data.
func (v *TPM) Extend(pcr uint32, data []byte) {
	v.t.Helper()
	do(v, tpm2.PCREvent{
		PCRHandle: withPassword(tpm2.NamedHandle{Handle: tpm2.TPMHandle(pcr)}), EventData: tpm2.TPM2BEvent{Buffer: data},
	})
}

// A Selection is a bank and its registers.
type Selection struct {
	Alg  tpm2.TPMAlgID
	PCRs []uint
}

// PolicyPCR returns the policy digest that TPM2_PolicyPCR makes of the registers' present values.
func (v *TPM) PolicyPCR(list ...Selection) []byte {
	v.t.Helper()
	session, closeSession, err := tpm2.PolicySession(v, tpm2.TPMAlgSHA256, 16, tpm2.Trial())
	if err != nil {
		v.t.Fatalf("TPM2_StartAuthSession: %v", err)
	}
	defer closeSession() // it ends with the TPM in any case
	do(v, tpm2.PolicyPCR{PolicySession: session.Handle(), Pcrs: selectionOf(list)})
	return do(v, tpm2.PolicyGetDigest{PolicySession: session.Handle()}).PolicyDigest.Buffer
}

func selectionOf(list []Selection) tpm2.TPMLPCRSelection {
	var out tpm2.TPMLPCRSelection
	for _, s := range list {
		out.PCRSelections = append(out.PCRSelections, tpm2.TPMSPCRSelection{Hash: s.Alg, PCRSelect: tpm2.PCClientCompatible.PCRs(s.PCRs...)})
	}
	return out
}

// Quote returns the quote's item and the values of the selected registers, concatenated.
func (ak *AK) Quote(extraData []byte, list ...Selection) (item, values []byte) {
	ak.tpm.t.Helper()
	item, values, err := ak.quote(tpm2.PasswordAuth(nil), extraData, list)
	if err != nil {
		ak.tpm.t.Fatalf("TPM2_Quote: %v", err)
	}
	return item, values
}

func (ak *AK) quote(auth tpm2.Session, extraData []byte, list []Selection) (item, values []byte, err error) {
	ak.tpm.t.Helper()
	rsp, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: ak.Handle.Handle, Name: ak.Handle.Name, Auth: auth},
		QualifyingData: tpm2.TPM2BData{Buffer: extraData}, InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: selectionOf(list),
	}.Execute(ak.tpm)
	if err != nil {
		return nil, nil, err
	}
	item = append(tpm2.Marshal(rsp.Quoted), tpm2.Marshal(rsp.Signature)...)
	for _, s := range list {
		for _, pcr := range s.PCRs {
			values = append(values, ak.tpm.Read(s.Alg, pcr)...)
		}
	}
	return item, values, nil
}

// Read returns a register's value.
func (v *TPM) Read(alg tpm2.TPMAlgID, pcr uint) []byte {
	v.t.Helper()
	rsp := do(v, tpm2.PCRRead{PCRSelectionIn: selectionOf([]Selection{{alg, []uint{pcr}}})})
	if len(rsp.PCRValues.Digests) != 1 {
		v.t.Fatalf("the TPM has no PCR %d of bank %d", pcr, alg)
	}
	return rsp.PCRValues.Digests[0].Buffer
}

// ExtendDigests extends a PCR by the digests of an event, one for each bank that it names.
func (v *TPM) ExtendDigests(pcr uint32, digests map[tpm2.TPMAlgID][]byte) {
	v.t.Helper()
	var list tpm2.TPMLDigestValues
	for alg, d := range digests {
		list.Digests = append(list.Digests, tpm2.TPMTHA{HashAlg: alg, Digest: d})
	}
	do(v, tpm2.PCRExtend{PCRHandle: withPassword(tpm2.NamedHandle{Handle: tpm2.TPMHandle(pcr)}), Digests: list})
}
