package platforms

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

const columns = "chip, origin, entry, appraised, bundle, place, status, evaluation, taken, standing, report, fmspc, trouble"

func scan(row interface{ Scan(...any) error }) (*platform, error) {
	var p platform
	var chip string
	var appraised int64
	var bundle, taken, standing, report []byte
	err := row.Scan(&chip, &p.origin, &p.entry, &appraised, &bundle, &p.place, &p.status, &p.evaluation, &taken, &standing, &report, &p.fmspc, &p.trouble)
	if err != nil {
		return nil, err
	}
	p.chip, p.appraised = poclog.Identity(chip), time.Unix(appraised, 0).UTC()
	copy(p.bundle[:], bundle)
	copy(p.taken[:], taken)
	if standing != nil {
		if p.standing, err = tdx.ParseStanding(standing); err != nil {
			return nil, err
		}
	}
	if len(report) > snp.ReportSize {
		p.report, p.certs = report[:snp.ReportSize], report[snp.ReportSize:]
	}
	return &p, nil
}

// platform returns what is kept of a chip, or nil.
func (k *Keeper) platform(ctx context.Context, chip poclog.Identity) (*platform, error) {
	p, err := scan(k.db.QueryRowContext(ctx, "SELECT "+columns+" FROM platform WHERE realm = ? AND chip = ?", k.policy.Realm, chip))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read platform %s: %w", chip, err)
	}
	return p, nil
}

// save keeps platforms, all or none.
func (k *Keeper) save(ctx context.Context, list ...*platform) error {
	err := k.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, p := range list {
			if err := k.put(ctx, tx, p); err != nil {
				return fmt.Errorf("%s: %w", p.chip, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep platforms: %w", err)
	}
	return nil
}

func (k *Keeper) put(ctx context.Context, tx *sql.Tx, p *platform) error {
	var standing, report []byte
	if p.standing != nil {
		standing = p.standing.Marshal()
	}
	if p.report != nil {
		report = append(append(report, p.report...), p.certs...)
	}
	taken := p.taken[:]
	if p.taken == (poclog.Digest{}) {
		taken = []byte{}
	}
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO platform (realm, "+columns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		k.policy.Realm, p.chip, p.origin, p.entry, p.appraised.Unix(), p.bundle[:], p.place, p.status, p.evaluation, taken, standing, report, p.fmspc, p.trouble)
	return err
}

// page is how many platforms are read at once.
const page = 1024

// each calls do for every platform of the realm that a condition picks, by chip. do may change what
// is kept.
func (k *Keeper) each(ctx context.Context, where string, args []any, do func(*platform) error) error {
	for last := ""; ; {
		list, err := k.page(ctx, where, args, last)
		if err != nil {
			return fmt.Errorf("read the platforms: %w", err)
		}
		for _, p := range list {
			if err := do(p); err != nil {
				return err
			}
			last = string(p.chip)
		}
		if len(list) < page {
			return nil
		}
	}
}

func (k *Keeper) page(ctx context.Context, where string, args []any, after string) (list []*platform, err error) {
	all := append(append([]any{k.policy.Realm, after}, args...), page)
	rows, err := k.db.QueryContext(ctx, "SELECT "+columns+" FROM platform WHERE realm = ? AND chip > ? AND "+where+" ORDER BY chip LIMIT ?", all...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// newer reports whether an issue of collateral is at least as new as what judged before under its
// key.
func (k *Keeper) newer(ctx context.Context, key string, number *big.Int, issued time.Time) (bool, error) {
	var have string
	var at int64
	err := k.db.QueryRowContext(ctx, "SELECT number, issued FROM issue WHERE key = ?", key).Scan(&have, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what judged before: %w", err)
	}
	n, ok := new(big.Int).SetString(have, 10)
	if !ok {
		return false, fmt.Errorf("read what judged before: number %.40q", have)
	}
	c := number.Cmp(n)
	return c > 0 || c == 0 && issued.Unix() >= at, nil
}

// judged remembers what has judged.
func (k *Keeper) judged(ctx context.Context, key string, number *big.Int, issued time.Time) error {
	_, err := k.db.ExecContext(ctx, `INSERT INTO issue (key, number, issued) VALUES (?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET number = excluded.number, issued = excluded.issued`, key, number.String(), issued.Unix())
	if err != nil {
		return fmt.Errorf("remember what judged: %w", err)
	}
	return nil
}
