package poclog

import (
	"bytes"
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// An IndexWrong shows that a log's index is not of its entries (`*.index-wrong.json`,
// docs/format.md §16): an index entry, what the map under its root says of a name, and an entry
// that the list of the name leaves out, or lists wrongly.
//
//	{"v":1,"rule":"index-wrong","index":"…","name":"…","proof":"…","before":"…","numbers":["…"],"entry":"…"}
//
// verify/dossier.CheckIndexWrong checks it.
type IndexWrong struct {
	Index       []byte // the receipt of the index entry
	DossierName        // what the map says
	Entry       []byte // the receipt of the entry
}

// indexWrongStart is how each file begins.
const indexWrongStart = `{"v":1,"rule":"index-wrong"`

// Marshal returns the file.
func (w *IndexWrong) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxContradiction, w.code)
	if err != nil {
		return nil, fmt.Errorf("encode wrong index: %w", err)
	}
	return file, nil
}

// ParseIndexWrong parses a file. It looks neither into the receipts nor into the proof.
func ParseIndexWrong(file []byte) (*IndexWrong, error) {
	if len(file) > MaxContradiction {
		return nil, fmt.Errorf("wrong index of %d bytes: want at most %d", len(file), MaxContradiction)
	}
	w := new(IndexWrong)
	if err := canon.Read(file, w.code); err != nil {
		return nil, fmt.Errorf("parse wrong index: %w", err)
	}
	return w, nil
}

// IsIndexWrong reports whether a file looks like one.
func IsIndexWrong(file []byte) bool { return bytes.HasPrefix(file, []byte(indexWrongStart)) }

func (w *IndexWrong) code(c *canon.Codec) {
	c.Lit(indexWrongStart)
	c.Member("index").Base64(&w.Index, MaxReceipt)
	w.DossierName.members(c)
	c.Member("entry").Base64(&w.Entry, MaxReceipt)
	c.Lit("}")
}
