package poclog

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// DossierType is the media type of a dossier, and DossierPageType that of a further page.
const (
	DossierType     = "application/vnd.poclog.dossier+json"
	DossierPageType = "application/vnd.poclog.dossier-page+json"
)

// Limits of a dossier.
const (
	// MaxDossier is the largest file, in bytes.
	MaxDossier = 64 << 20
	// MaxPage is how many entries a page of a dossier has at most.
	MaxPage = 1000

	maxDossierNames   = 64
	maxDossierNumbers = 1 << 20 // of one name
	maxDossierPages   = 1 << 14
	maxCheckpoints    = 2 * MaxPage // a challenge and a first covering one of each entry
	maxIndexName      = 176         // verify/index.MaxName
	maxMapProof       = 1 << 14     // verify/index.MaxProof is less
	maxPageProof      = MaxPage * maxProofHashes
)

// A Dossier is every entry of a log that states some names, since a size, with the proof that there
// are no others (`*.dossier.json`, docs/format.md §17).
//
//	{"v":1,"index":"…","checkpoint":"…","since":"…","names":[…],"pages":[…]}
//
// Parsing one proves nothing: verify/dossier.Check does.
type Dossier struct {
	Index      []byte // the receipt of the log's index entry
	Checkpoint []byte // the signed checkpoint that the index entry names
	Since      []byte // a signed checkpoint of the log: entries from its size on are all listed; empty where all are
	Names      []DossierName
	Pages      []DossierPage
}

// A DossierName is a name with all numbers that the index has of it, or all from one on.
type DossierName struct {
	Name    string
	Proof   []byte   // of the map: verify/index.Lookup
	Before  *Digest  // the value before the first number that is listed; nil where the first is the first of all
	Numbers []uint64 // ascending
}

// A DossierPage is entries with one proof that all are in the tree of the index's receipt.
type DossierPage struct {
	Entries []DossierEntry      // ascending by number, 1 to MaxPage
	Proof   [][sha256.Size]byte // verify/dossier says in which order

	// Checkpoints are those that the entries refer to, for their intervals: none where these were
	// not asked for.
	Checkpoints []DossierCheckpoint
}

// A DossierEntry is a leaf of the log.
type DossierEntry struct {
	Number uint64
	Leaf   []byte // canonical JSON of a kind that the reader knows

	// Challenge and First are numbers in the page's Checkpoints, from 1: of the signed challenge
	// checkpoint, and of the first that covered the entry. 0 where there is none.
	Challenge, First uint32
}

// A DossierCheckpoint is a signed checkpoint, and how it belongs to the log's history.
type DossierCheckpoint struct {
	Checkpoint  []byte
	Consistency [][sha256.Size]byte // RFC 6962 §2.1.4.1, to the checkpoint of the index's receipt; none where it is another log's, or as large
}

// Marshal returns the file.
func (d *Dossier) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxDossier, d.code)
	if err != nil {
		return nil, fmt.Errorf("encode dossier: %w", err)
	}
	return file, nil
}

// ParseDossier parses a file. It looks neither into the receipt, the checkpoints nor the leaves.
func ParseDossier(file []byte) (*Dossier, error) {
	if len(file) > MaxDossier {
		return nil, fmt.Errorf("dossier of %d bytes: want at most %d", len(file), MaxDossier)
	}
	d := new(Dossier)
	if err := canon.Read(file, d.code); err != nil {
		return nil, fmt.Errorf("parse dossier: %w", err)
	}
	return d, nil
}

// IsDossier reports whether a file looks like a dossier.
func IsDossier(file []byte) bool { return bytes.HasPrefix(file, []byte(`{"v":1,"index":`)) }

func (d *Dossier) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	c.Member("index").Base64(&d.Index, MaxReceipt)
	c.Member("checkpoint").Base64(&d.Checkpoint, maxCheckpointLen)
	c.OptionalBase64("since", &d.Since, maxCheckpointLen)
	canon.List(c.Member("names"), "names", &d.Names, maxDossierNames, func(n *DossierName) { n.code(c) })
	c.Check(len(d.Names) > 0, "names: none")
	canon.Ascending(c, "names", d.Names, func(a, b DossierName) bool { return a.Name < b.Name })
	canon.OptionalList(c, "pages", &d.Pages, maxDossierPages, func(p *DossierPage) { p.code(c) })
	d.checkOrder(c)
	c.Lit("}")
}

// checkOrder holds numbers to ascend over all pages.
func (d *Dossier) checkOrder(c *canon.Codec) {
	last, first := uint64(0), true
	for _, p := range d.Pages {
		for _, e := range p.Entries {
			if !first && e.Number <= last {
				c.Failf("pages: entry %d after entry %d: want ascending numbers", e.Number, last)
			}
			last, first = e.Number, false
		}
	}
}

func (n *DossierName) code(c *canon.Codec) { c.Object(func() { n.members(c) }) }

func (n *DossierName) members(c *canon.Codec) {
	canon.Word(c.Member("name"), "name", &n.Name, maxIndexName)
	c.Member("proof").Base64(&n.Proof, maxMapProof)
	canon.OptionalOf(c, "before", &n.Before, func(d *Digest) { c.Hex(d[:]) })
	canon.OptionalList(c, "numbers", &n.Numbers, maxDossierNumbers, c.Uint64)
	canon.Ascending(c, "numbers", n.Numbers, func(a, b uint64) bool { return a < b })
}

func (p *DossierPage) code(c *canon.Codec) {
	c.Object(func() {
		canon.List(c.Member("entries"), "entries", &p.Entries, MaxPage, func(e *DossierEntry) { e.code(c) })
		c.Check(len(p.Entries) > 0, "entries: none")
		canon.OptionalList(c, "proof", &p.Proof, maxPageProof, func(h *[sha256.Size]byte) { c.Hex(h[:]) })
		canon.OptionalList(c, "checkpoints", &p.Checkpoints, maxCheckpoints, func(x *DossierCheckpoint) { x.code(c) })
	})
}

func (x *DossierCheckpoint) code(c *canon.Codec) {
	c.Object(func() {
		c.Member("checkpoint").Base64(&x.Checkpoint, maxCheckpointLen)
		canon.OptionalList(c, "consistency", &x.Consistency, 2*maxProofHashes, func(h *[sha256.Size]byte) { c.Hex(h[:]) })
	})
}

// Marshal returns the page as a file of its own, for logs that answer in several.
func (p *DossierPage) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxDossier, p.code)
	if err != nil {
		return nil, fmt.Errorf("encode page of a dossier: %w", err)
	}
	return file, nil
}

// ParseDossierPage parses a page's file.
func ParseDossierPage(file []byte) (*DossierPage, error) {
	if len(file) > MaxDossier {
		return nil, fmt.Errorf("page of a dossier of %d bytes: want at most %d", len(file), MaxDossier)
	}
	p := new(DossierPage)
	if err := canon.Read(file, p.code); err != nil {
		return nil, fmt.Errorf("parse page of a dossier: %w", err)
	}
	return p, nil
}

func (e *DossierEntry) code(c *canon.Codec) {
	c.Object(func() {
		c.Member("number").Uint64(&e.Number)
		c.Member("leaf").Raw(&e.Leaf, MaxEntry)
		for _, x := range []struct {
			name string
			n    *uint32
		}{{"challenge", &e.Challenge}, {"first", &e.First}} {
			if c.Optional(x.name, *x.n != 0) {
				c.Uint32(x.n)
				c.Check(*x.n > 0 && *x.n <= maxCheckpoints, "%s %d: want 1 to %d", x.name, *x.n, maxCheckpoints)
			}
		}
	})
}
