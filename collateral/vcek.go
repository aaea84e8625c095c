package collateral

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/snp"
)

// A KDS fetches the certificates of chips' keys from AMD's Key Distribution Service, or a mirror of
// it. What it gave is kept in a folder: the certificate of a chip's key for a TCB version never
// changes, and the service gives little to who asks often. Nothing is returned that does not lead
// to the policy's roots and verify the report, kept or not.
type KDS struct {
	base  base
	dir   string
	roots map[[32]byte]bool
	now   func() time.Time
	get   Getter
}

// NewKDS returns a client of the service at a base URL, such as AMDKDS, which keeps answers in a
// folder; an empty one keeps nothing. Of the configuration HTTP, UserAgent, Patience and Now count.
func NewKDS(address, dir string, roots map[[32]byte]bool, cfg Config) (*KDS, error) {
	b, err := parseBase(address)
	if err != nil {
		return nil, fmt.Errorf("KDS: %w", err)
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if dir != "" {
		if err := prepare(dir); err != nil {
			return nil, fmt.Errorf("KDS: %w", err)
		}
	}
	c := &Cache{cfg: cfg, http: httpClient(cfg.HTTP)}
	return &KDS{base: b, dir: dir, roots: roots, now: cfg.Now, get: c.get}, nil
}

// Certificates returns VCEK, ASK and ARK of the chip that made a report, in DER, concatenated: the
// item of a bundle. A report before version 3 does not name its product: then each is tried. The
// service has no certificates of VLEKs, and none of chips that the host masks.
func (k *KDS) Certificates(ctx context.Context, report []byte) ([]byte, error) {
	r, err := snp.ParseReport(report)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Signer == snp.VLEK:
		return nil, errors.New("the report is signed by a cloud's key (VLEK), whose certificate only the cloud has")
	case r.ChipID == [64]byte{}:
		return nil, errors.New("the host masks CHIP_ID: the KDS is asked by it; take the certificates from the host")
	}
	tried := []snp.Product{r.Product()}
	if tried[0] == "" {
		tried = []snp.Product{snp.Milan, snp.Genoa}
	}
	for _, p := range tried {
		var item []byte
		if item, err = k.certificates(ctx, p, r); err == nil || !errors.Is(err, ErrNone) {
			return item, err
		}
	}
	return nil, err
}

func (k *KDS) certificates(ctx context.Context, p snp.Product, r *snp.Report) ([]byte, error) {
	id, query := vcekOf(p, r)
	kept := ""
	if k.dir != "" {
		kept = filepath.Join(k.dir, strings.ToLower(string(p))+"-"+id+"-"+strings.NewReplacer("=", "", "&", "-").Replace(query.Encode())+".vcek")
		if item, err := readBounded(kept, maxVCEK); err == nil && k.check(item, r) == nil {
			return item, nil
		}
	}
	base := k.base.below("vcek", "v1", string(p))
	leaf, err := k.get(ctx, base.at(id, query))
	if err != nil {
		return nil, fmt.Errorf("VCEK of a %s: %w", p, orNone(err))
	}
	issuers, err := k.get(ctx, base.at("cert_chain", nil))
	if err != nil {
		return nil, fmt.Errorf("issuers of the VCEK of a %s: %w", p, err)
	}
	item := append(ders(leaf.Body), ders(issuers.Body)...)
	if err := k.check(item, r); err != nil {
		return nil, fmt.Errorf("VCEK of a %s: the KDS's answer is of no use: %w", p, err)
	}
	if kept != "" && len(item) <= maxVCEK {
		if err := durable.Replace(kept, item, 0o644); err != nil {
			return nil, fmt.Errorf("keep VCEK: %w", err)
		}
	}
	return item, nil
}

// maxVCEK bounds a kept file, written and read: three certificates.
const maxVCEK = 1 << 16

// check verifies certificates, and the report by them.
func (k *KDS) check(item []byte, r *snp.Report) error {
	c, err := snp.ParseChain(item)
	if err != nil {
		return err
	}
	if err := c.CheckChain(r, k.roots, k.now()); err != nil {
		return err
	}
	return r.CheckSignature(c)
}

// vcekOf is what the service is asked for below a product: the chip, and the TCB version by its
// components.
func vcekOf(p snp.Product, r *snp.Report) (chip string, tcb url.Values) {
	id, parts := r.ChipID[:], []struct {
		name  string
		octet int
	}{{"blSPL", 0}, {"teeSPL", 1}, {"snpSPL", 6}, {"ucodeSPL", 7}}
	if p == snp.Turin {
		id = id[:8]
		parts[0].octet, parts[1].octet, parts[2].octet = 1, 2, 3
		parts = append(parts, struct {
			name  string
			octet int
		}{"fmcSPL", 0})
	}
	q := make(url.Values)
	for _, part := range parts {
		q.Set(part.name, strconv.Itoa(int(r.Reported[part.octet])))
	}
	return hex.EncodeToString(id), q
}

// ders returns what PEM blocks hold, or the octets themselves where there is none.
func ders(body []byte) []byte {
	b, _ := octets.Decode(body)
	return b
}
