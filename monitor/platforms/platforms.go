// Package platforms judges the platforms of logged evidence again, when their manufacturers publish
// something new: `tcb-fell` where firmware that stood when a proof was logged has fallen since,
// `platform-revoked` where the manufacturer took back the chip's certificate or that of the CA
// which certified it.
//
// Of every chip it keeps what manufacturers judge of it ([tdx.Standing], or an SEV-SNP report with
// its certificates), taken once, from the bundle that the chip's newest entry names by digest,
// after checking that the chip's key signed it. Whatever is published later judges all kept
// platforms without asking a log again; only platforms that would fall are first taken anew from
// their newest bundle, for their operator may have updated them meanwhile.
//
// What judges is authenticated under a policy's roots, must be valid when it judges, and never
// older than what judged before. Both are observations of the monitor, not contradictions: the
// proofs were true when they were made. The collateral that was seen is kept beside.
//
// It holds no platform of another realm than the policy's. TestPlatformsFallOnceForEachIssue and
// TestNearMisses are the evidence.
package platforms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/monitor"
)

// Rules of the observations.
const (
	RuleFell    = "tcb-fell"
	RuleRevoked = "platform-revoked"
)

// Names in a monitor's folder.
const (
	stateFile     = "platforms.db"
	collateralDir = "collateral"
)

var schema = sqlite.Schema{`
CREATE TABLE platform (
	realm      TEXT NOT NULL,
	chip       TEXT NOT NULL,
	origin     TEXT NOT NULL,               -- the chip's newest entry: log,
	entry      INTEGER NOT NULL,            -- index,
	appraised  INTEGER NOT NULL,            -- Unix seconds,
	bundle     BLOB NOT NULL,               -- digest of its bundle,
	place      TEXT NOT NULL,               -- where it proves the chip to be,
	status     TEXT NOT NULL,               -- and the status that the log gave it; or that of what judged it since
	evaluation INTEGER NOT NULL,
	taken      BLOB NOT NULL DEFAULT x'',   -- digest of the bundle that the rest was taken from; empty before
	standing   BLOB,                        -- tdx.Standing; NULL for others
	report     BLOB,                        -- SEV-SNP report and certificates; NULL for others
	fmspc      TEXT NOT NULL DEFAULT '',    -- hexadecimal; empty where there is none
	trouble    TEXT NOT NULL DEFAULT '',    -- why nothing could be taken
	PRIMARY KEY (realm, chip)
) STRICT;
CREATE INDEX platform_fmspc ON platform (realm, fmspc);
CREATE TABLE issue (                        -- the newest of each piece of collateral that judged: none that is older judges again
	key     TEXT PRIMARY KEY,
	number  TEXT NOT NULL,                  -- evaluation or CRL number, decimal
	issued  INTEGER NOT NULL                -- Unix seconds
) STRICT;
`}

// Source is where platforms come from, and alerts go: a [monitor.Monitor].
type Source interface {
	Logs(ctx context.Context) ([]monitor.LogInfo, error)
	Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error]
	Mark(ctx context.Context, reader, origin string) (uint64, error)
	AddAlertsAndMark(ctx context.Context, alerts []monitor.Alert, reader, origin string, next uint64) (int, error)
	AddAlerts(ctx context.Context, alerts []monitor.Alert) (int, error)
}

// Evidence fetches the file of a digest from a log, and checks it against the digest:
// [client.Client.Evidence].
type Evidence func(ctx context.Context, origin string, digest poclog.Digest) ([]byte, error)

// A Keeper keeps the platforms of one realm in a monitor's folder. One process at a time should
// have it.
type Keeper struct {
	dir      string
	db       *sqlite.DB
	source   Source
	evidence Evidence
	policy   *poclog.Policy
	clock    func() time.Time
}

// Open opens what is kept in a monitor's folder, or begins it. The policy gives the realm, the
// roots that judge, and the least firmware of SEV-SNP.
func Open(dir string, source Source, evidence Evidence, policy *poclog.Policy, clock func() time.Time) (*Keeper, error) {
	k := &Keeper{dir: dir, source: source, evidence: evidence, policy: policy, clock: clock}
	files := filepath.Join(dir, collateralDir)
	if err := errors.Join(durable.MkdirAll(files, 0o700), durable.Sweep(files)); err != nil {
		return nil, fmt.Errorf("open the platforms: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if err := sqlite.Create(path, schema); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("begin the platforms: %w", err)
	}
	var err error
	if k.db, err = sqlite.Open(path, schema); err != nil {
		return nil, fmt.Errorf("open the platforms: %w", err)
	}
	return k, nil
}

// Close closes the files.
func (k *Keeper) Close() error { return k.db.Close() }

// A Family is platforms that one TCB info judges.
type Family struct {
	FMSPC string // 12 hexadecimal digits
	CA    string // "platform" or "processor"
}

// Families returns those of the kept platforms of Intel's: what to ask for.
func (k *Keeper) Families(ctx context.Context) ([]Family, error) {
	seen := make(map[Family]bool)
	var out []Family
	err := k.each(ctx, "fmspc != ''", nil, func(p *platform) error {
		if f := (Family{p.fmspc, p.standing.CA()}); !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
		return nil
	})
	return out, err
}

// AMDLists names AMD's lists of revoked certificates for the kept SEV-SNP platforms, such as
// "vcek-milan".
func (k *Keeper) AMDLists(ctx context.Context) (lists []string, err error) {
	err = k.each(ctx, "report IS NOT NULL", nil, func(p *platform) error {
		_, chain, err := parseSNP(p.report, p.certs)
		if err != nil {
			return fmt.Errorf("platform %s: %w", p.chip, err)
		}
		if name := chain.Signer.String() + "-" + strings.ToLower(string(chain.Product)); !slices.Contains(lists, name) {
			lists = append(lists, name)
		}
		return nil
	})
	return lists, err
}

// Counts says how many platforms are kept, and of how many nothing could be taken.
func (k *Keeper) Counts(ctx context.Context) (kept, without int, err error) {
	err = k.db.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (WHERE standing IS NULL AND report IS NULL) FROM platform WHERE realm = ?", k.policy.Realm).Scan(&kept, &without)
	if err != nil {
		return 0, 0, fmt.Errorf("count the platforms: %w", err)
	}
	return kept, without, nil
}
