package attest_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
)

// faulty is a TPM whose n-th command fails, without effect: by the TPM's answer, or because the
// connection broke.
type faulty struct {
	transport.TPMCloser
	count  *int
	at     int
	broken bool
	failed *tpm2.TPMCC
}

func (f *faulty) Send(command []byte) ([]byte, error) {
	*f.count++
	if *f.count != f.at {
		return f.TPMCloser.Send(command)
	}
	*f.failed = tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
	if f.broken {
		return nil, errors.New("the connection broke")
	}
	answer := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	answer = binary.BigEndian.AppendUint32(answer, 10)
	return binary.BigEndian.AppendUint32(answer, uint32(tpm2.TPMRCFailure)), nil
}

// Whichever of a TPM's commands fails, nothing stays in its memory: without a resource manager a
// TPM holds three keys and three sessions, and the next attempts would fail for good.
func TestAFailedCommandLeavesNothingInTheTPM(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *stage{
		"managed":    func(t *testing.T) *stage { return managed(t, false) },
		"bare metal": func(t *testing.T) *stage { return metalMachine(t, discrete.Options{}) },
		"made from a template": func(t *testing.T) *stage {
			s := metalMachine(t, discrete.Options{})
			s.fromTemplate(t)
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			open := s.m.TPM
			for _, broken := range []bool{false, true} {
				for at := 1; ; at++ {
					count, failed := 0, tpm2.TPMCC(0)
					s.m.TPM = func() (transport.TPMCloser, error) {
						real, err := open()
						return &faulty{real, &count, at, broken, &failed}, err
					}
					_, err := s.take(t)
					if failed == 0 {
						if err != nil || at < 10 {
							t.Fatalf("after %d commands: %v", count, err)
						}
						break
					}
					if failed == tpm2.TPMCCFlushContext {
						s.g.V.Unload() // what cannot be unloaded stays
						continue
					}
					if left := s.g.V.Loaded(); len(left) > 0 {
						t.Errorf("command %d, %#x, failed (broken %v): the TPM still holds %x (%v)", at, uint32(failed), broken, left, err)
						s.g.V.Unload()
					}
				}
			}
		})
	}
}

// fromTemplate names the machine's AK by its public area, as tools write it, in place of a handle.
func (s *stage) fromTemplate(t *testing.T) {
	t.Helper()
	rsp, err := tpm2.ReadPublic{ObjectHandle: s.o.AKHandle}.Execute(s.g.V)
	if err != nil {
		t.Fatal(err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	s.o.AKHandle, s.o.AKTemplate = 0, tpm2.Marshal(public)
}

// setPassword gives a hierarchy a password.
func (s *stage) setPassword(t *testing.T, hierarchy tpm2.TPMHandle, password string) {
	t.Helper()
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)}, NewAuth: tpm2.TPM2BAuth{Buffer: []byte(password)},
	}.Execute(s.g.V)
	if err != nil {
		t.Fatal(err)
	}
}

// A password on the owner hierarchy, as administrators set one, keeps nobody from evidence that
// does not need it.
func TestAnOwnerPasswordIsNoObstacle(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *stage{
		"managed": func(t *testing.T) *stage { return managed(t, false) },
		"made from a template": func(t *testing.T) *stage {
			s := metalMachine(t, discrete.Options{})
			s.fromTemplate(t)
			return s
		},
		"azure": func(t *testing.T) *stage {
			s := azureStage(t, poclog.AzureTDXvTPM)
			s.g.V.DefineNV(importer.NVAzureUserData, make([]byte, 64)) // the owner alone can, once
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.setPassword(t, tpm2.TPMRHOwner, "the administrator's")
			im, err := s.take(t)
			if err != nil {
				t.Fatal(err)
			}
			if a := s.appraise(t, im); a.Entry.Level != poclog.LevelBound {
				t.Errorf("level %d", a.Entry.Level)
			}
		})
	}
	// Where it is needed, the message names the hierarchy, and nothing stays in the TPM.
	s := metalMachine(t, discrete.Options{})
	s.fromTemplate(t)
	s.setPassword(t, tpm2.TPMRHEndorsement, "x")
	var m *attest.MissingError
	if _, err := s.take(t); !errors.As(err, &m) || m.Piece != attest.PieceAK || !strings.Contains(err.Error(), "endorsement hierarchy") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if left := s.g.V.Loaded(); len(left) > 0 {
		t.Errorf("the TPM still holds %x", left)
	}
	s = managed(t, false)
	s.o.Persist = 0x81010099
	s.setPassword(t, tpm2.TPMRHOwner, "x")
	if _, err := s.take(t); !errors.As(err, &m) || m.How != attest.ChooseHandle {
		t.Errorf("a key that cannot be kept: %v", err)
	}
	if left := s.g.V.Loaded(); len(left) > 0 {
		t.Errorf("the TPM still holds %x", left)
	}
}
