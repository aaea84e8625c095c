package importer

import (
	"encoding/binary"
	"fmt"

	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

// A WrongFileError says that a file is something else than what is wanted, or damaged.
type WrongFileError struct {
	Want Kind
	Is   Kind  // "" if nobody can say
	Err  error // of who reads what is wanted
}

// Error says what the file is. Of what is neither known nor damaged the parser's words say most.
func (e *WrongFileError) Error() string {
	if e.Is == "" || e.Is == e.Want {
		return e.Err.Error()
	}
	return fmt.Sprintf("it is %s: want %s", e.Is, e.Want)
}

// Unwrap returns the reader's error.
func (e *WrongFileError) Unwrap() error { return e.Err }

func wrongFile(file []byte, want Kind, err error) error {
	if err == nil {
		return nil
	}
	return &WrongFileError{want, KindOf(file), err}
}

// ReadQuote returns a TDX quote, with the padding that it has: from a file with its octets, or in
// hexadecimal or base64.
func ReadQuote(file []byte) ([]byte, error) {
	b, _ := octets.Decode(file)
	_, err := tdx.TrimQuote(b)
	return b, wrongFile(file, KindTDXQuote, err)
}

// ReadEventLog returns an event log without its padding.
func ReadEventLog(kind tcglog.Kind, file []byte) ([]byte, error) {
	b, _ := octets.Decode(file)
	trimmed, err := tcglog.Trim(kind, b)
	want := KindTPMLog
	if kind == tcglog.CCEL {
		want = KindCCEL
	}
	return trimmed, wrongFile(file, want, err)
}

// ReadPublic returns a TPMT_PUBLIC: as it is, or out of a TPM2B_PUBLIC, as tools of tpm2-tools
// write it in their format "tss".
func ReadPublic(file []byte) ([]byte, error) {
	public, err := publicArea(file)
	return public, wrongFile(file, KindTPMPublic, err)
}

func publicArea(b []byte) ([]byte, error) {
	b = TrimPublic(b)
	_, err := tpm.ParsePublic(b)
	return b, err
}

// TrimPublic returns the TPMT_PUBLIC of a file as [ReadPublic] does, and does not look at it: a
// template need not be a key's.
func TrimPublic(file []byte) []byte {
	b, _ := octets.Decode(file)
	if len(b) > 2 && int(binary.BigEndian.Uint16(b)) == len(b)-2 {
		b = b[2:]
	}
	return b
}
